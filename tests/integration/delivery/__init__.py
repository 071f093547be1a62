"""Delivery on a real broker and database, with a real matching service behind it."""
