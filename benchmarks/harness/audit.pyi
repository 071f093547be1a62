"""Walks the whole structure of a set of books and says where two parts of it disagree."""

from benchmarks.harness.book import BookSet

class BrokenBooks(AssertionError):
    """Two parts of a book's structure disagree."""

def check_books(owner: BookSet) -> None:
    """Check levels, orders, price trees, id table and free lists against each other; O(everything)."""
