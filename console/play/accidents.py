"""What goes wrong, and when: a GPU falls off the bus, a node loses power for a while; decided by the seed alone."""

from dataclasses import dataclass
from typing import Literal

from console.play.chance import stream

Kind = Literal["gpu_lost", "node_gone"]
KINDS: tuple[Kind, ...] = ("gpu_lost", "node_gone")
CALM_MINUTES = 2
ODDS = 0.3
AWAY_S = (25, 90)
REPLACED_AFTER_S = (90, 240)


@dataclass(frozen=True)
class Accident:
    """One accident: at which site, which of its GPUs, after how many seconds of its minute, and how long it lasts."""

    kind: Kind
    site: str
    gpu: int
    after_s: int
    lasts_s: int


def accident_in(seed: int, minute: int, sites: tuple[str, ...], gpus: int) -> Accident | None:
    """Returns what goes wrong in a minute of the play, counted from its start; most minutes nothing does."""
    chance = stream(seed, "accident", minute)
    if minute < CALM_MINUTES or not sites or chance.random() >= ODDS:
        return None
    kind = chance.choice(KINDS)
    lasts_s = chance.randint(*(REPLACED_AFTER_S if kind == "gpu_lost" else AWAY_S))
    return Accident(kind, chance.choice(sites), chance.randrange(gpus), chance.randrange(50), lasts_s)
