"""What a GPU-hour is worth to the played traders: a base per product that drifts by the seed, in micro-units."""

from dataclasses import dataclass

from console.play.chance import WAVE_MAX, wave

MILLION = 1_000_000
# Lengths in periods, and how far each wave moves the value, in parts per million.
MOOD = ((40, 30_000), (9, 14_000), (2, 5_000))  # by the moment: what everyone thinks of the product now
SHAPE = ((16, 35_000), (5, 18_000))  # by the delivery's start: some hours are dearer than others


@dataclass(frozen=True)
class Value:
    """The value of one product's GPU-hour, by delivery start and moment; it follows from the seed alone."""

    seed: int
    product: str
    base_micros: int
    period_s: int

    def at(self, start_s: int, now_s: int) -> int:
        """Returns micro-units per GPU-hour of the period that starts at `start_s`, as seen at `now_s`."""
        moves = [(f"{self.product}/mood", now_s, *each) for each in MOOD]
        moves += [(f"{self.product}/shape", start_s, *each) for each in SHAPE]
        ppm = sum(
            wave(self.seed, f"{name}/{periods}", moment_s, periods * self.period_s) * most_ppm // WAVE_MAX
            for name, moment_s, periods, most_ppm in moves
        )
        return self.base_micros * (MILLION + ppm) // MILLION


def part(micros: int, ppm: int) -> int:
    """Returns so many parts per million of an amount, rounded down."""
    return micros * ppm // MILLION


def down_to_tick(micros: int, tick_micros: int) -> int:
    """Rounds down to a whole tick, at least one."""
    return max(micros // tick_micros, 1) * tick_micros


def up_to_tick(micros: int, tick_micros: int) -> int:
    """Rounds up to a whole tick."""
    return -(-micros // tick_micros) * tick_micros
