"""The engine in plain Python: slow and obvious, the specification of the fast one and the judge of it."""

from matching_engine.rules.engine import Engine

__all__ = ["Engine"]
