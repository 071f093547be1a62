"""The exchange's core: order books, money and events, without I/O, clock or randomness."""

import os

from matching_engine.errors import BadSnapshot, EngineError, OffsetGap

CHOICE = os.environ.get("HOURBOOK_ENGINE", "")

if CHOICE not in ("", "cython", "reference"):
    raise EngineError(f"HOURBOOK_ENGINE is {CHOICE!r}, not cython or reference")
if CHOICE == "reference":
    from matching_engine.rules import Engine
else:
    try:
        from matching_engine.engine import Engine
    except ModuleNotFoundError:
        if CHOICE == "cython":
            raise
        from matching_engine.rules import Engine

ENGINE_NAME = "reference" if Engine.__module__.startswith("matching_engine.rules") else "cython"

__all__ = ["ENGINE_NAME", "BadSnapshot", "Engine", "EngineError", "OffsetGap"]
