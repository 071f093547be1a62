"""What can go wrong around an engine; a broken rule of the market is never an error, it is an event."""


class EngineError(Exception):
    """The engine cannot go on."""


class BadSnapshot(EngineError):
    """The bytes are no undamaged snapshot of this engine and version."""


class OffsetGap(EngineError):
    """A record is not the next one of the log."""
