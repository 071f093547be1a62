"""The played sites: some of the real offers in one process, and a few live agents, which have the accidents."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clients.actors import Registry
from console.demo.login import shell_hook
from console.demo.sites import AgentSite, Sites
from console.play.accidents import Accident
from console.play.chance import WAVE_MAX, wave
from console.play.value import MILLION, Value, up_to_tick
from infra.fake_nvml.scenario import lose_gpu
from infra.reference.offers import Site
from schemas.money import parse_micros

SITES = 30
PERIODS_AHEAD = 24
BOND_CNY = "2000000.00"
LIVE_GPUS = 8
LIVE_GRADE = "H100SXM80"
# Label, hub and price of the agents with processes of their own; 12.84 CNY is what an H100 of a server rents for.
LIVE = (("yangtze", "CNE", "12.84"), ("taihu", "CNE", "13.10"), ("helan", "CNW", "11.90"))
# The one whose buyers get in by SSH, where this machine has what that needs; each lease is a process of its own.
SSH_SITE, SSH_GPUS = "helan", 2
# How far a site's price follows the product's value, what it adds of its own, and how large a change it bothers with.
OWN_WAVE_PERIODS, OWN_PPM, BOTHER_PPM = 12, 12_000, 6_000


@dataclass(frozen=True)
class Stall:
    """What stands behind one site's price: its product and what it asked at the start, in micro-units."""

    label: str
    product: str
    ask_micros: int


def choose_offers(offers: list[Site], wanted: int) -> list[Site]:
    """Returns the real offers to play: those of the products that most sites offer, so that books have depth."""
    sites_of = Counter((site.node_grade, site.hub) for site in offers)
    ranked = sorted(offers, key=lambda site: (-sites_of[site.node_grade, site.hub], site.node_grade, site.hub))
    return ranked[:wanted]


def price_of(stall: Stall, value: Value, seed: int, now_s: int, tick_micros: int) -> int:
    """Returns what a site asks now: its own price, moved as the product's value moves and a little by its own mind."""
    own_ppm = wave(seed, f"{stall.label}/price", now_s, OWN_WAVE_PERIODS * value.period_s) * OWN_PPM // WAVE_MAX
    moved = value.at(now_s, now_s) * MILLION // value.base_micros + own_ppm
    return up_to_tick(stall.ask_micros * moved // MILLION, tick_micros)


class PlayedSites:
    """Starts the sites, moves their prices, and lets accidents happen to the live ones."""

    def __init__(self, registry: Registry, sites: Sites, folder: Path) -> None:
        self._registry, self._sites = registry, sites
        self._live: dict[str, AgentSite] = {}
        self._built = Counter(path.name.rpartition("-")[0] for path in folder.glob("*-*"))  # by an earlier play too
        self._hooks = shell_hook(folder / "leases")  # where this machine has what it needs, buyers get in by SSH
        self._hurt: set[str] = set()
        self.stalls: list[Stall] = []

    def start(self, offers: list[Site], count: int) -> None:
        """Starts `count` sites in all: the live agents, and real offers for the rest."""
        for label, hub, price in LIVE[: max(count, 1)]:
            self._registry.open_account(label, "operate", CNY=BOND_CNY)
            self.stalls.append(Stall(label, f"{LIVE_GRADE}.{hub}.F", parse_micros(price)))
            self._build(label)
        played = choose_offers(offers, max(count - len(self._live), 0))
        if played:
            self._sites.start_fleet(PERIODS_AHEAD, played)
        self.stalls += [Stall(site.name, f"{site.node_grade}.{site.hub}.F", site.ask_micros) for site in played]

    @property
    def ssh_product(self) -> str | None:
        """The product whose buyers get in by SSH, where this machine has what that needs."""
        hub = next(hub for label, hub, _ in LIVE if label == SSH_SITE)
        return f"{LIVE_GRADE}.{hub}.F" if self._hooks and SSH_SITE in self._live else None

    @property
    def live_labels(self) -> tuple[str, ...]:
        """The sites that accidents may happen to now."""
        return tuple(label for label in self._live if label not in self._hurt)

    def bases(self) -> dict[str, int]:
        """Returns what each product's cheapest site asks, in micro-units: the traders' idea of its value."""
        bases: dict[str, int] = {}
        for stall in self.stalls:
            bases[stall.product] = min(stall.ask_micros, bases.get(stall.product, stall.ask_micros))
        return bases

    def move_price(self, stall: Stall, price_micros: int, standing: dict[str, int]) -> None:
        """Writes a site's new price where it differs enough from the one that stands."""
        before = standing.get(stall.label, stall.ask_micros)
        if abs(price_micros - before) * MILLION <= BOTHER_PPM * before:
            return
        standing[stall.label] = price_micros
        self._sites.set_price(self._folder(stall.label), price_micros)

    async def suffer(self, accident: Accident) -> None:
        """Lets an accident happen and end: the power comes back, or the operator puts another server in."""
        label, site = accident.site, self._live[accident.site]
        self._hurt.add(label)
        try:
            if accident.kind == "node_gone":
                await asyncio.to_thread(self._sites.cut, site)
                await asyncio.sleep(accident.lasts_s)
                self._sites.start_again(site)
            else:
                lose_gpu(site.scenario, accident.gpu % _gpus_of(label))
                await asyncio.sleep(accident.lasts_s)
                await asyncio.to_thread(self._sites.end, site)
                await asyncio.to_thread(self._build, label)
        finally:
            self._hurt.discard(label)

    def _build(self, label: str) -> None:
        """Starts a live agent on GPUs that nobody has seen before."""
        _, hub, price = next(row for row in LIVE if row[0] == label)
        self._built[label] += 1
        policy = {"hub": hub, "periods_ahead": PERIODS_AHEAD, "extend_by": 4, "price": {"floor": price}}
        policy |= {"hooks": self._hooks} if label == SSH_SITE and self._hooks else {}
        operator = self._registry.actors[label]
        self._live[label] = self._sites.start_agent(operator, self._folder(label), policy, _gpus_of(label))

    def _folder(self, label: str) -> str:
        built = self._built[label]
        return f"{label}-{built}" if built else label


def _gpus_of(label: str) -> int:
    return SSH_GPUS if label == SSH_SITE else LIVE_GPUS


class PriceClock:
    """Moves one site's price at a time, so that all have had their turn once in a while."""

    def __init__(self, sites: PlayedSites, seed: int) -> None:
        self._sites, self._seed, self._standing, self._turn = sites, seed, {}, 0

    def tick(self, values: dict[str, Value], ticks: dict[str, int]) -> None:
        """Looks after the next site. A site whose server is being replaced is left alone."""
        stall = self._sites.stalls[self._turn % len(self._sites.stalls)]
        self._turn += 1
        price = price_of(stall, values[stall.product], self._seed, int(time.time()), ticks[stall.product])
        with suppress(FileNotFoundError):
            self._sites.move_price(stall, price, self._standing)
