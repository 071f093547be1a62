"""Unit tests of the console and of the whole command line."""
