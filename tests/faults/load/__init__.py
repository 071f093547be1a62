"""Clients that never stop, each with notes of its own: what it asked for, what it was told, what it was not told."""
