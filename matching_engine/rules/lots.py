"""Which lots a block would take: of nodes free in all its hours cheapest average first, then oldest, then lowest id.

What this file settles: a block passes over asks of its own account; `min_qty` bounds what has
traded after an execution, so the first one brings at least that many GPUs and what is left may then fill lot by lot;
the walk ends at the first lot that does not fit; no ask is taken that the velocity halt would stop; a flex compares
what a GPU costs on average, with fees, at each start.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import chain

from matching_engine.rules import velocity, vouchers
from matching_engine.rules.fills import Fill, fill_at
from matching_engine.rules.market import Market
from matching_engine.rules.money import hold_unit_micros, unit_micros
from matching_engine.rules.state import Block, Order
from matching_engine.rules.store import rank_of, start_of
from schemas.events import WhyUnfilled
from schemas.ids import contract_name


@dataclass(frozen=True)
class Offer:
    """GPUs of one node in one hour: an operator's ask, or the part of a reseller's that one position backs."""

    ask: Order
    gpus: int
    position_id: int | None


@dataclass(frozen=True, order=True)
class Lot:
    """One lot of a node over all hours of a block, in the order in which lots are taken. Amounts are per GPU."""

    unit_micros: int
    age: int
    node: str
    rank: int
    fee_micros: int = field(compare=False)
    price_sum_micros: int = field(compare=False)

    @property
    def cost_micros(self) -> int:
        return self.unit_micros + self.fee_micros


@dataclass
class Choice:
    """The lots that a block would take now from a start on, how many GPUs fit, and why it would take no more."""

    start_s: int
    lots: list[Lot]
    fitting_gpus: int
    reason: str
    best_price_micros: int | None
    trials: int

    @property
    def average_micros(self) -> Fraction:
        """What a lot costs on average."""
        return Fraction(sum(lot.cost_micros for lot in self.lots), len(self.lots))


# -- the hours of a block


def starts_of(market: Market, block: Block) -> range:
    """The starts that a block may still take: one, but for a flex."""
    period_s = market.state.products[block.product].newest.period_s
    return range(block.start_s, block.latest_s + 1, period_s)


def contracts_from(market: Market, block: Block, start_s: int) -> list[str]:
    """The contracts of the block's hours, from a start on."""
    return list(names_from(block.product, start_s, block.periods, market.state.products[block.product].newest.period_s))


@lru_cache(maxsize=4_096)
def names_from(product: str, start_s: int, periods: int, period_s: int) -> tuple[str, ...]:
    """The names of consecutive contracts."""
    return tuple(contract_name(product, start_s + step * period_s, period_s) for step in range(periods))


def lot_gpus(market: Market, block: Block) -> int:
    return market.state.products[block.product].newest.lot


def hold_unit_from(market: Market, block: Block, start_s: int) -> int:
    """What a block holds per GPU from a start on: cost and dearest fee at its limit in every hour."""
    contracts = contracts_from(market, block, start_s)
    return sum(hold_unit_micros(market.terms_of(contract), block.limit_price_micros) for contract in contracts)


def hold_unit_of(market: Market, block: Block) -> int:
    """A flex holds the maximum it may need. [C-7]"""
    return max(hold_unit_from(market, block, start_s) for start_s in starts_of(market, block))


# -- choosing


def choose(market: Market, block: Block) -> Choice:
    """Picks the lots a block would take now; a flex starts where it is cheapest, of equal starts at the earliest.
    [M-30]
    """
    choices = [choose_from(market, block, start_s) for start_s in starts_of(market, block)]
    executable = [choice for choice in choices if choice.lots]
    if executable:
        best = min(executable, key=lambda choice: (choice.average_micros, choice.start_s))
    else:
        best = min(choices, key=nearest_first)
    best.trials = sum(choice.trials for choice in choices)
    return best


def nearest_first(choice: Choice) -> tuple[int, bool, int, int]:
    """Of starts that do not serve, the one to tell of: most GPUs, best price, earliest."""
    price_micros = choice.best_price_micros
    return -choice.fitting_gpus, price_micros is None, price_micros or 0, choice.start_s


def choose_from(market: Market, block: Block, start_s: int) -> Choice:
    """Picks the lots a block would take from a start on; none where they are fewer than it accepts."""
    contracts = contracts_from(market, block, start_s)
    nodes, walk = quick_walk(market, block, contracts) or walk_nodes(market, block, contracts)
    first = next(walk, None)
    lots = () if first is None else chain([first], walk)
    taken, reason = choose_fitting(market, block, contracts, lots)
    fitting_gpus = len(taken) * lot_gpus(market, block)
    best = None if first is None else -(-first.price_sum_micros // block.periods)
    if not nodes and market.store.best(contracts[0], "sell") is not None:
        reason = "self_trade"
    if block.qty - block.left + fitting_gpus < block.min_qty:
        taken = []
    return Choice(start_s, taken, fitting_gpus, reason, best, max(1, nodes))


def quick_walk(market: Market, block: Block, contracts: list[str]) -> tuple[int, Iterator[Lot]] | None:
    """The same as `walk_nodes`, where the store has a quicker way; none knows of vouchers."""
    return market.store.walk_nodes(market, block, contracts) if market.drawing is None else None


def walk_nodes(market: Market, block: Block, contracts: list[str]) -> tuple[int, Iterator[Lot]]:
    """How many nodes offer something in the first hour, and every node's lots, in the order in which they are taken."""
    hours = [offers_by_node(market, block, contract) for contract in contracts]
    return len(hours[0]), iter(sorted(lot for node in hours[0] for lot in lots_of(market, contracts, node, hours)))


def first_offer(market: Market, block: Block, contract: str, node: str) -> Offer:
    """What a node offers first in an hour."""
    quick = market.store.first_offer(market, block, contract, node) if market.drawing is None else None
    return quick or offers_by_node(market, block, contract)[node][0]


def offers_by_node(market: Market, block: Block, contract: str) -> dict[str, list[Offer]]:
    """What a book offers that is not the block's own, by node, each node's best first. [M-27]"""
    nodes: dict[str, list[Offer]] = {}
    for ask in market.store.resting(contract, "sell"):
        if ask.account != block.account and not vouchers.passes_over(market, ask):
            for node, offer in offers_of(market, ask):
                nodes.setdefault(node, []).append(offer)
    return nodes


def offers_of(market: Market, ask: Order) -> list[tuple[str, Offer]]:
    """An ask by the nodes that it stands for."""
    if ask.node is not None:
        return [(ask.node, Offer(ask, ask.left, None))]
    return [(market.state.positions[each].node, Offer(ask, gpus, each)) for each, gpus in ask.backing]


def lots_of(market: Market, contracts: list[str], node: str, hours: list[dict[str, list[Offer]]]) -> list[Lot]:
    """A node's k-th GPU costs the sum over the hours of each hour's k-th cheapest lot, its age is that of its first
    hour's ask; a node without an ask in some hour has no lots. [M-28]
    """
    columns = [
        lots_of_hour(market, *hour) for hour in zip(contracts, (offers.get(node, []) for offers in hours), strict=True)
    ]
    lots = []
    for rank, row in enumerate(zip(*columns, strict=False)):
        fills = [fill for fill, _ in row]
        lots.append(
            Lot(
                unit_micros=sum(fill.unit_micros for fill in fills),
                age=row[0][1],
                node=node,
                rank=rank,
                fee_micros=sum(fill.fee_micros for fill in fills),
                price_sum_micros=sum(fill.price_micros for fill in fills),
            )
        )
    return lots


def lots_of_hour(market: Market, contract: str, offers: list[Offer]) -> list[tuple[Fill, int]]:
    """One entry for each lot a node offers in an hour, cheapest first: its cost and the age of its ask."""
    terms = market.terms_of(contract)
    lots: list[tuple[Fill, int]] = []
    for offer in offers:
        if velocity.breaks(market, contract, offer.ask.price_micros):
            break
        fill = fill_at(terms, offer.ask.price_micros, terms.taker_fee_bps)
        lots += [(fill, rank_of(offer.ask))] * (offer.gpus // terms.lot)
    return lots


def choose_fitting(market: Market, block: Block, contracts: list[str], lots: Iterable[Lot]) -> tuple[list[Lot], str]:
    """Takes lots in order up to the quantity, the limit on the average, the money held, and `max_cost`. [M-29]"""
    limit_micros = sum(unit_micros(market.terms_of(contract), block.limit_price_micros) for contract in contracts)
    hold_unit = hold_unit_from(market, block, start_of(contracts[0]))
    gpus = lot_gpus(market, block)
    taken: list[Lot] = []
    spent_micros = block.spent_micros
    for lot in lots:
        if len(taken) * gpus == block.left:
            break
        if lot.unit_micros > limit_micros or lot.cost_micros > hold_unit:
            return taken, "price"
        spent_micros += gpus * lot.cost_micros
        if block.max_cost_micros is not None and spent_micros > block.max_cost_micros:
            return taken, "max_cost"
        taken.append(lot)
    return taken, "no_node_free_in_all_hours"


def why_block_unfilled(choice: Choice, wanted_gpus: int) -> WhyUnfilled:
    """What a miss is answered with: how many of the GPUs wanted could not be had."""
    missing_gpus = wanted_gpus - choice.fitting_gpus
    return WhyUnfilled(reason=choice.reason, best_price_micros=choice.best_price_micros, missing_gpus=missing_gpus)
