"""The terminal page in a real browser."""
