"""Unit tests of market_data."""
