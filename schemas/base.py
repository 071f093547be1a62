"""The base of every model, and the one canonical form of a message: compact JSON in field order."""

from functools import partial
from operator import eq
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class NotCanonical(ValueError):
    """The bytes are valid JSON for the model, but not the one canonical form of it."""


def added(default: Any = None, **constraints: Any) -> Any:
    """Declare a field that came after messages without it were signed or written.

    It stays out of the canonical bytes while it has its default, so that signatures of older messages hold.
    """
    return Field(default=default, exclude_if=partial(eq, default), **constraints)


class Model(BaseModel):
    """A frozen message. Unknown fields, wrong types and silent conversions are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def canonical(self) -> bytes:
        """Returns the only bytes this message may have on a topic or under a signature (UTF-8 JSON, no white space)."""
        return self.model_dump_json().encode()

    @classmethod
    def from_canonical(cls, raw: bytes) -> Self:
        """Reads a message; raises pydantic.ValidationError for a wrong one, NotCanonical for another spelling."""
        message = cls.model_validate_json(raw)
        if message.canonical() != raw:
            raise NotCanonical(cls.__name__)
        return message
