"""Hours of the operator's own: maintenance, GPUs kept free, a tier's hours; by the clock or between two moments."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agents.node.sections import Section, as_tuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR_FORM = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
DAY_S = 86_400


@lru_cache(maxsize=16)
def zone_of(name: str) -> tzinfo:
    """Returns a time zone by its IANA name. Raises ValueError where this machine does not know it."""
    if name == "UTC":
        return UTC  # known without a database of time zones
    from zoneinfo import ZoneInfo  # most policies need none of it, and the agent's memory is counted

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        words = "should be a time zone like Europe/Berlin that this machine knows (package tzdata), or UTC"
        raise ValueError(words) from error


def is_zone(name: str) -> str:
    """Refuses a name of no time zone."""
    zone_of(name)
    return name


def _is_edge(value: Any) -> Any:
    is_hour = isinstance(value, str) and HOUR_FORM.fullmatch(value)
    if not is_hour and not (isinstance(value, datetime) and value.tzinfo is not None):
        raise ValueError('should be an hour like "02:00", or a moment with its offset like 2026-12-24T18:00:00+01:00')
    return value


TimeZone = Annotated[str, AfterValidator(is_zone)]
Edge = Annotated[Any, AfterValidator(_is_edge)]


class Window(Section):
    """A time from `from` to `to`: hours of the day, over midnight too, on `days` when it begins, or two moments."""

    from_: Annotated[Edge, Field(alias="from")]
    to: Edge
    days: Annotated[tuple[Literal[DAYS], ...], BeforeValidator(as_tuple), Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _agree(self) -> "Window":
        by_clock = isinstance(self.from_, str)
        if by_clock != isinstance(self.to, str):
            raise ValueError("from and to should both be hours of the day, or both moments")
        if self.from_ == self.to or (not by_clock and self.to < self.from_):
            raise ValueError("to should be after from")
        if self.days and not by_clock:
            raise ValueError("days go with hours of the day")
        return self

    def overlaps(self, start_s: int, end_s: int, zone: tzinfo) -> bool:
        """Tells whether any of [start_s, end_s) is in the window."""
        return any(from_s < end_s and start_s < to_s for from_s, to_s in self._spans(start_s, end_s, zone))

    def covers(self, moment_s: int, zone: tzinfo) -> bool:
        """Tells whether a moment is in the window."""
        return self.overlaps(moment_s, moment_s + 1, zone)

    def in_words(self) -> str:
        """Returns the window as an operator would say it."""
        days = f"{', '.join(self.days)} " if self.days else ""
        ends = [each if isinstance(each, str) else each.isoformat() for each in (self.from_, self.to)]
        return f"{days}{ends[0]} to {ends[1]}"

    def _spans(self, start_s: int, end_s: int, zone: tzinfo) -> list[tuple[float, float]]:
        if isinstance(self.from_, datetime):
            return [(self.from_.timestamp(), self.to.timestamp())]
        first = datetime.fromtimestamp(start_s - DAY_S, zone).date()
        last = datetime.fromtimestamp(end_s, zone).date()
        days = (first + timedelta(days=count) for count in range((last - first).days + 1))
        return [self._span(day, zone) for day in days if not self.days or DAYS[day.weekday()] in self.days]

    def _span(self, day: date, zone: tzinfo) -> tuple[float, float]:
        next_day = self.to <= self.from_
        return _moment(day, self.from_, zone), _moment(day + timedelta(days=next_day), self.to, zone)


def _moment(day: date, hour: str, zone: tzinfo) -> float:
    if hour == "24:00":
        day, hour = day + timedelta(days=1), "00:00"
    return datetime.combine(day, time.fromisoformat(hour), zone).timestamp()
