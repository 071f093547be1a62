"""Numbers on the command line, taken as they are written or not at all: never rounded, in no base but ten."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import cyclopts
from cyclopts import Token

WHOLE = re.compile(r"-?[0-9]{1,19}")
DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")


def read_strictly(kind: Any, tokens: Sequence[Token]) -> Any:
    """Converts an argument as cyclopts does, but for the liberties that it takes with numbers."""
    kinds = set(_kinds_in(kind))
    for token in tokens if kinds & {int, float} and str not in kinds else ():
        if not (DECIMAL if float in kinds else WHOLE).fullmatch(token.value):
            what = "a decimal number" if float in kinds else "a whole number"
            raise ValueError(f"{token.value!r} is not {what} of plain digits")
    return cyclopts.convert(kind, tokens)


def _kinds_in(kind: Any) -> Iterator[Any]:
    yield kind
    for part in get_args(kind):
        yield from _kinds_in(part)
