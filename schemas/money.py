"""Money as int64 micro-units inside and decimal strings at the edge; a float never touches it."""

import re
from typing import Annotated

from pydantic import Field

MICROS = 1_000_000
PLAIN_DECIMAL = re.compile(r"(-?)([0-9]{1,13})(?:\.([0-9]{1,6}))?")
AMOUNT_MAX_MICROS = 4_000_000_000_000_000_000
PRICE_MAX_MICROS = 1_000_000_000_000
COUNTER_MAX = 9_007_199_254_740_991  # what every JSON reader holds exactly

Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX_MICROS)]
PositiveAmount = Annotated[int, Field(ge=1, le=AMOUNT_MAX_MICROS)]
SignedAmount = Annotated[int, Field(ge=-AMOUNT_MAX_MICROS, le=AMOUNT_MAX_MICROS)]
Price = Annotated[int, Field(ge=1, le=PRICE_MAX_MICROS)]
DecimalString = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]


class BadDecimal(ValueError):
    """The text is not a plain decimal number with at most six decimals."""


def parse_micros(text: str) -> int:
    """Turns a plain decimal string into micro-units; more than six decimals are an error, never rounded."""
    match = PLAIN_DECIMAL.fullmatch(text)
    if match is None:
        raise BadDecimal(text)
    sign, whole, part = match.groups(default="")
    micros = int(whole) * MICROS + int(part.ljust(6, "0"))
    return -micros if sign else micros


def format_micros(micros: int) -> str:
    """Turns micro-units into the shortest exact decimal string with at least two decimals: 12840000 → '12.84'."""
    sign = "-" if micros < 0 else ""
    whole, part = divmod(abs(micros), MICROS)
    decimals = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def cost_micros(price_micros: int, period_s: int) -> int:
    """Returns what one GPU costs for one period, ceil(price · period / 3600). [C-3]"""
    return -(-price_micros * period_s // 3600)
