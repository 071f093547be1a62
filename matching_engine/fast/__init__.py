"""Ordinary commands decided in C, without the GIL; each file has the name of the rule in `rules/` that it repeats."""
