"""An engine that is stopped after every record and goes on from its own snapshot."""

from typing import Any


class Restarting:
    """Stands in the place of an engine of `engine_class`."""

    def __init__(self, engine_class: type):
        self.engine = engine_class()

    def apply(self, records: list) -> list[bytes]:
        """Applies the records, and starts again from what the snapshot holds."""
        events = self.engine.apply(records)
        self.engine = type(self.engine).restore(self.engine.snapshot())
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)
