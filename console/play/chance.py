"""Chance that a seed decides: a stream of its own for everyone at every step, the same on every machine."""

from hashlib import sha256
from random import Random

WAVE_MAX = 1_000


def stream(seed: int, *names: object) -> Random:
    """Returns the random stream of these names; what one actor draws never shifts what another one gets."""
    return Random(_number(seed, names))


def wave(seed: int, name: str, moment_s: int, length_s: int) -> int:
    """Returns a smooth wave at a moment, from -1000 to 1000: straight lines between random heights every `length_s`."""
    place, part_s = divmod(moment_s, length_s)
    before, after = (_number(seed, (name, each)) % (2 * WAVE_MAX + 1) - WAVE_MAX for each in (place, place + 1))
    return (before * (length_s - part_s) + after * part_s) // length_s


def _number(seed: int, names: tuple[object, ...]) -> int:
    return int.from_bytes(sha256(repr((seed, *names)).encode()).digest()[:8])
