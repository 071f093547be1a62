"""Unit tests; the folders mirror the tree."""
