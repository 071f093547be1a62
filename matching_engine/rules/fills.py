"""What a fill costs its buyer."""

from dataclasses import dataclass

from matching_engine.rules.money import fee_unit_micros, unit_micros
from schemas.venue import DefineProduct


@dataclass(frozen=True)
class Fill:
    """What a fill costs the buyer per GPU."""

    price_micros: int
    unit_micros: int
    fee_micros: int

    @property
    def cost_micros(self) -> int:
        return self.unit_micros + self.fee_micros


def fill_at(terms: DefineProduct, price_micros: int, bps: int) -> Fill:
    """Returns the buyer's cost per GPU at a price, with the fee of his role."""
    unit = unit_micros(terms, price_micros)
    return Fill(price_micros, unit, fee_unit_micros(unit, bps))
