"""What the policy says of prices: a floor that nothing goes below, what is asked above it, and rules that move it."""

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from agents.node.sections import PriceText, Section, as_tuple
from agents.node.windows import TimeZone
from schemas.money import parse_micros

Curve = Annotated[tuple[PriceText, ...], BeforeValidator(as_tuple), Field(min_length=24, max_length=24)]


class IndexRule(Section):
    """Asks the product's last index, `percent` above it or below."""

    percent: Annotated[int, Field(ge=-90, le=1000)] = 0


class UndercutRule(Section):
    """Asks `ticks` less than the best ask of anybody else, where that is less than what would be asked anyway."""

    ticks: Annotated[int, Field(ge=1, le=10_000)] = 1


class DecayRule(Section):
    """Comes down to the floor in `steps` of one size, from `from_hours` before the delivery until `to_hours` before."""

    from_hours: Annotated[int, Field(ge=1, le=10_000)] = 24
    to_hours: Annotated[int, Field(ge=0, le=10_000)] = 1
    steps: Annotated[int, Field(ge=1, le=100)] = 6

    @model_validator(mode="after")
    def _falls(self) -> "DecayRule":
        if self.to_hours >= self.from_hours:
            raise ValueError("to_hours should be less than from_hours")
        return self


class OccupancyRule(Section):
    """Asks more while more than `target_percent` of the coming hours is sold, and less while less is.

    Each whole ten points of difference move the price by `step_percent`, all of them by `percent_max` at most.
    """

    target_percent: Annotated[int, Field(ge=0, le=100)] = 70
    step_percent: Annotated[int, Field(ge=1, le=100)] = 2
    percent_max: Annotated[int, Field(ge=1, le=90)] = 20


class PaceRule(Section):
    """How often prices follow the rules: the market is looked at every `look_s`, at most so many orders are repriced in
    a delivery period, and none for less than `ticks_min`. What stands below the floor is repriced at once.
    """

    look_s: Annotated[int, Field(ge=5, le=86_400)] = 60
    reprices_per_period: Annotated[int, Field(ge=1, le=1000)] = 60
    ticks_min: Annotated[int, Field(ge=1, le=10_000)] = 1


class PriceRule(Section):
    """A price per GPU-hour: one, or 24 for the hours of the day in `time_zone`.

    Nothing is asked below `floor`, and nothing above `ceiling`. `ask` is what is asked where no rule says otherwise,
    the floor by default.
    """

    floor: PriceText | None = None
    floor_curve: Curve | None = None
    ask: PriceText | None = None
    ask_curve: Curve | None = None
    ceiling: PriceText | None = None
    time_zone: TimeZone = "UTC"
    index: IndexRule | None = None
    undercut: UndercutRule | None = None
    decay: DecayRule | None = None
    occupancy: OccupancyRule | None = None
    pace: PaceRule = PaceRule()

    @model_validator(mode="after")
    def _agree(self) -> "PriceRule":
        if (self.floor is None) == (self.floor_curve is None):
            raise ValueError("name either floor or floor_curve")
        if self.ask is not None and self.ask_curve is not None:
            raise ValueError("name either ask or ask_curve")
        for hour in range(24):
            floor, ask = self.floor_micros(hour), self.ask_micros(hour)
            if self.ceiling is not None and parse_micros(self.ceiling) < floor:
                raise ValueError(f"ceiling should be at least the floor, which is more at {hour:02d}:00")
            if ask is not None and ask < floor:
                raise ValueError(f"ask should be at least the floor, which is more at {hour:02d}:00")
        if self.decay and self.ask is None and self.ask_curve is None and self.index is None:
            raise ValueError("decay comes down from ask, ask_curve or index, and none of them is named")
        return self

    @property
    def reads_market(self) -> bool:
        """Whether a rule goes by what others pay or ask."""
        return self.index is not None or self.undercut is not None

    def floor_micros(self, hour: int) -> int:
        """Returns the floor at an hour of the day."""
        return parse_micros(self.floor_curve[hour] if self.floor_curve else self.floor)

    def ask_micros(self, hour: int) -> int | None:
        """Returns what is asked at an hour of the day, None where the policy does not say."""
        text = self.ask_curve[hour] if self.ask_curve else self.ask
        return None if text is None else parse_micros(text)
