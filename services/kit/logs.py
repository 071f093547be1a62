"""Structured logs: one JSON line an entry on standard error, with the service's name in each."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import orjson
import structlog

TEXT_MAX, FRAMES_TOLD = 500, 4
# Local variables hold keys and passwords; a log is read by more people than those.
WITHOUT_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


class LossyFile:
    """A file that loses what the disk does not take: whoever says that the disk is full must not end by saying so."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def write(self, content: bytes) -> int:
        """Writes as much as there is room for; says that all was written."""
        left = memoryview(content)
        with suppress(OSError):
            while left:
                left = left[os.write(self._descriptor, left) :]
        return len(content)

    def flush(self) -> None:
        """Has nothing to do, since nothing is kept back."""


class OneLine(logging.Handler):
    """Writes what libraries log as entries of the same form: of an exception its kind, its words and where it was."""

    def __init__(self, service: str):
        super().__init__()
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one entry of bounded length."""
        entry = {"service": self._service, "logger": record.name, "event": record.getMessage()[:TEXT_MAX]}
        if record.exc_info and record.exc_info[1] is not None:
            entry |= error_fields(record.exc_info[1])
        structlog.get_logger().log(record.levelno, **entry)


def error_fields(error: BaseException) -> dict[str, str]:
    """Says in a few words what failed, and where."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_TOLD:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return {"error": repr(error)[:TEXT_MAX], "where": where}


def configure_logs(service: str, level: str = "info") -> structlog.BoundLogger:
    """Sets up structlog for this process and returns its logger."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(WITHOUT_LOCALS),
            structlog.processors.JSONRenderer(serializer=orjson.dumps, option=orjson.OPT_NON_STR_KEYS),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(LossyFile(sys.stderr.fileno())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[OneLine(service)], level=logging.WARNING, force=True)
    structlog.contextvars.bind_contextvars(service=service)
    return structlog.get_logger()
