"""Unit tests of the schemas."""
