"""What tables of the operator's TOML files are made of: strict types, prices, lists."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict

from schemas.base import Model
from schemas.money import PRICE_MAX_MICROS, BadDecimal, format_micros, parse_micros


class Section(Model):
    """A table of the file, in TOML's own types: text is no number, and a number no yes or no."""

    # Only the model of the whole file is ever built: the agent's memory is counted.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def as_tuple(value: Any) -> Any:
    """Takes TOML's lists for tuples, which frozen models hold."""
    return tuple(value) if isinstance(value, list) else value


def is_price(text: str) -> str:
    """Refuses what the venue takes as no price: nothing, and more than its highest."""
    try:
        micros = parse_micros(text)
    except BadDecimal:
        micros = -1
    if micros < 0:
        raise ValueError("should be a decimal number with at most six decimals, like 12.84")
    if not 0 < micros <= PRICE_MAX_MICROS:
        raise ValueError(f"should be more than 0 and at most {format_micros(PRICE_MAX_MICROS)}")
    return text


PriceText = Annotated[str, AfterValidator(is_price)]
