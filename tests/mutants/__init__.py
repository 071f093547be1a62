"""Seeded bugs, and what catches them."""
