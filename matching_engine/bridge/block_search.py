"""How the compiled engine finds a block's nodes: those that cost least by their rows first, each looked at exactly.

It gives the same lots in the same order as `rules.lots.walk_nodes`, without looking at nodes that come too late.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from matching_engine.rules.lots import Lot, Offer, lots_of, offers_of
from matching_engine.rules.market import Market
from matching_engine.rules.state import Block
from matching_engine.rules.store import rank_of


class BlockSearch:
    """One look for a block from one start. Nodes on which somebody resells come first, since no row has them."""

    def __init__(self, market: Market, block: Block, contracts: list[str]):
        self.market, self.block, self.contracts = market, block, contracts
        self.resold: dict[str, dict[str, list[Offer]]] = {}
        for contract in contracts:
            for ask in market.store.resale_asks(contract):
                if ask.account != block.account:
                    self.add_resold(contract, offers_of(market, ask))
        self.columns = market.store.node_columns(contracts, block.account, self.resold)

    def add_resold(self, contract: str, offers: list[tuple[str, Offer]]) -> None:
        for node, offer in offers:
            self.resold.setdefault(node, {}).setdefault(contract, []).append(offer)

    def nodes(self) -> int:
        """How many nodes offer something in the first hour."""
        first = self.contracts[:1]
        return self.columns.count + sum(bool(self.offers(node, first)[0]) for node in self.resold)

    def lots(self) -> Iterator[Lot]:
        """Every lot, in the order in which lots are taken."""
        known: list[Lot] = []
        for node in self.resold:
            self.add_lots(node, known)
        while True:
            bound = self.columns.next()
            while bound is not None and (not known or bound <= (known[0].unit_micros, known[0].age)):
                self.add_lots(self.columns.pop(), known)
                bound = self.columns.next()
            if not known:
                return
            yield heappop(known)

    def add_lots(self, node: str, known: list[Lot]) -> None:
        hours = [{node: offers} for offers in self.offers(node, self.contracts)]
        for lot in lots_of(self.market, self.contracts, node, hours):
            heappush(known, lot)

    def offers(self, node: str, contracts: list[str]) -> list[list[Offer]]:
        """What the node offers in each hour that is not the block's own, best first."""
        resold = self.resold.get(node, {})
        return [
            in_turn([Offer(ask, ask.left, None) for ask in asks if ask.account != self.block.account], resold, contract)
            for contract, asks in zip(contracts, self.market.store.asks_by_hour(node, contracts), strict=True)
        ]


def in_turn(own: list[Offer], resold: dict[str, list[Offer]], contract: str) -> list[Offer]:
    offers = own + resold.get(contract, [])
    return sorted(offers, key=price_then_time) if len(offers) > 1 else offers


def price_then_time(offer: Offer) -> tuple[int, int]:
    return offer.ask.price_micros, rank_of(offer.ask)


def walk_nodes(market: Market, block: Block, contracts: list[str]) -> tuple[int, Iterator[Lot]]:
    """As `rules.lots.walk_nodes`."""
    search = BlockSearch(market, block, contracts)
    return search.nodes(), search.lots()


def first_offer(market: Market, block: Block, contract: str, node: str) -> Offer:
    """As `rules.lots.first_offer`."""
    search = BlockSearch.__new__(BlockSearch)
    search.market, search.block, search.resold = market, block, {}
    for ask in market.store.resale_asks(contract):
        if ask.account != block.account:
            search.add_resold(contract, offers_of(market, ask))
    return search.offers(node, [contract])[0][0]
