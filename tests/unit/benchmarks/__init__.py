"""Tests of what judges a benchmark's figures."""
