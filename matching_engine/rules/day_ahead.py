"""The day-ahead auction: one price an hour for bids of one hour and for blocks, each block GPU on one node throughout.

Decision 0010 says why: at a uniform price it does not matter which executed ask serves which bid, so prices are found
first, with blocks as demand at any price, and the blocks are then given nodes among the asks that those prices execute.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from matching_engine.rules import cancels, resale
from matching_engine.rules.auction_price import Equilibrium, find_equilibrium
from matching_engine.rules.block_fills import shrink_hold
from matching_engine.rules.fills import Fill
from matching_engine.rules.lots import contracts_from, lot_gpus
from matching_engine.rules.market import Market
from matching_engine.rules.money import unit_micros
from matching_engine.rules.state import Block
from matching_engine.rules.uncrossing import Clearing, fill_of, levels_of, trade_clearing, trade_pair, winners
from schemas.events import AuctionBlockRejected

Nodes = dict[str, int]


@dataclass
class Bidder:
    """A block in the auction: the GPUs it still asks for, and why it does not ask for more."""

    block: Block
    contracts: list[str]
    limit_sum_micros: int
    wanted: int
    reason: str | None = None


@dataclass
class Supply:
    """An hour's executed asks by node: GPUs, the id of the first, and who sells there."""

    gpus: Counter[str] = field(default_factory=Counter)
    ages: Nodes = field(default_factory=dict)
    sellers: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Round:
    """What the prices of one round come to: for whom they are too high, who finds no nodes, who is served where."""

    found: dict[str, Equilibrium | None]
    overpriced: list[tuple[Fraction, int, int, str]] = field(default_factory=list)
    nodeless: list[tuple[int, int]] = field(default_factory=list)
    served: dict[int, Nodes] = field(default_factory=dict)


class DayAhead:
    """One auction of a product's open contracts and of the blocks that wait in it; a flex waits for its end. [M-39]"""

    def __init__(self, market: Market, name: str, contracts: list[str]):
        self.market = market
        waiting = [block for _, block in sorted(market.state.blocks.items()) if block.product == name]
        self.bidders = {block.id: self.bidder(block) for block in waiting if block.start_s == block.latest_s}
        self.contracts = sorted({*contracts, *(each for one in self.bidders.values() for each in one.contracts)})
        sides = ("buy", "sell")
        self.levels = {each: [levels_of(market, each, side) for side in sides] for each in self.contracts}
        self.known: dict[tuple[str, int], Equilibrium | None] = {}

    def bidder(self, block: Block) -> Bidder:
        contracts = contracts_from(self.market, block, block.start_s)
        limit = sum(unit_micros(self.market.terms_of(each), block.limit_price_micros) for each in contracts)
        return Bidder(block, contracts, limit, block.left)

    # -- one round

    def price(self, contract: str, at_any_price: int) -> Equilibrium | None:
        if (contract, at_any_price) not in self.known:
            tick, reference = self.market.terms_of(contract).tick_micros, self.market.reference_micros(contract)
            found = find_equilibrium(*self.levels[contract], tick, reference, at_any_price)
            self.known[contract, at_any_price] = found
        return self.known[contract, at_any_price]

    def play(self) -> Round:
        """Finds the prices for what the blocks ask for, and judges every block by them."""
        wanted: Counter[str] = Counter()
        for bidder in self.bidders.values():
            for contract in bidder.contracts:
                wanted[contract] += bidder.wanted
        this = Round({contract: self.price(contract, wanted[contract]) for contract in self.contracts})
        asking = [bidder for bidder in self.bidders.values() if bidder.wanted]
        for bidder in asking:
            self.judge_price(this, bidder)
        if not this.overpriced:
            self.give_nodes(this, sorted(asking, key=lambda each: (-each.block.limit_price_micros, each.block.id)))
        return this

    def fills(self, this: Round, bidder: Bidder) -> list[Fill] | None:
        """What each hour costs at the round's prices; None where one has none."""
        found = [this.found[contract] for contract in bidder.contracts]
        if None in found:
            return None
        pairs = zip(bidder.contracts, found, strict=True)
        return [fill_of(self.market, Clearing(contract, each, {})) for contract, each in pairs]

    def judge_price(self, this: Round, bidder: Bidder) -> None:
        """Notes by how much a block is worse off per hour, and how many GPUs it can afford."""
        fills, block = self.fills(this, bidder), bidder.block
        if fills is None:
            return
        loss = sum(fill.unit_micros for fill in fills) - bidder.limit_sum_micros
        cost = sum(fill.cost_micros for fill in fills)
        loss = max(loss, cost - block.hold_unit_micros)
        if loss > 0:
            this.overpriced.append((Fraction(loss, block.periods), block.id, 0, "price"))
        elif block.max_cost_micros is not None and block.spent_micros + bidder.wanted * cost > block.max_cost_micros:
            lot = lot_gpus(self.market, block)
            affordable = (block.max_cost_micros - block.spent_micros) // cost // lot * lot
            this.overpriced.append((Fraction(0), block.id, affordable, "max_cost"))

    def give_nodes(self, this: Round, bidders: list[Bidder]) -> None:
        """The dearest limit chooses first, then the oldest: nodes whose executed asks reach through all its hours.
        [M-40]
        """
        hours = {contract for bidder in bidders for contract in bidder.contracts}
        supply = {contract: self.executed(contract, this.found[contract]) for contract in hours}
        for bidder in bidders:
            got = self.nodes_for(bidder, supply)
            if sum(got.values()) < bidder.wanted:
                this.nodeless.append((bidder.block.id, sum(got.values())))
            this.served[bidder.block.id] = got
            for node, qty in got.items():
                for contract in bidder.contracts:
                    supply[contract].gpus[node] -= qty

    def executed(self, contract: str, found: Equilibrium | None) -> Supply:
        """The GPUs of each node that trade at the price; what resellers sell goes to bids of one hour."""
        supply = Supply()
        for ask, qty in winners(self.market, Clearing(contract, found, {}), "sell", found.qty) if found else ():
            if not resale.is_resale(ask):
                supply.gpus[ask.node] += qty
                supply.ages.setdefault(ask.node, ask.id)
                supply.sellers.add((ask.node, ask.account))
        return supply

    def nodes_for(self, bidder: Bidder, supply: dict[str, Supply]) -> Nodes:
        """The nodes that serve a block, the one that offered first coming first; none on which its owner sells."""
        got, missing, lot = {}, bidder.wanted, lot_gpus(self.market, bidder.block)
        hours = [supply[contract] for contract in bidder.contracts]
        for node in sorted(hours[0].ages, key=lambda each: (hours[0].ages[each], each)):
            if not any((node, bidder.block.account) in hour.sellers for hour in hours):
                part = min(missing, min(hour.gpus[node] for hour in hours) // lot * lot)
                if part:
                    got[node] = part
                    missing -= part
        return got

    # -- round after round

    def play_rounds(self, rounds: int) -> Round:
        """Plays until every block that still asks is content; after `rounds` all that fail go at once, then all."""
        for number in range(2 * rounds):
            this = self.play()
            if not (this.overpriced or this.nodeless):
                return self.bring_back(this, rounds)
            overpriced = sorted(this.overpriced, key=lambda each: (each[0], each[1]), reverse=True)
            failing = [(block_id, left, reason) for _, block_id, left, reason in overpriced]
            failing = failing or [(*each, "no_node_free_in_all_hours") for each in this.nodeless]
            for block_id, left, reason in failing if number >= rounds else failing[:1]:
                self.reduce(self.bidders[block_id], left, reason)
        for bidder in self.bidders.values():
            if bidder.wanted:
                self.reduce(bidder, 0, "rounds_exhausted")
        return self.play()

    def reduce(self, bidder: Bidder, left: int, reason: str) -> None:
        """A block goes on with fewer GPUs, or with none where they are fewer than it accepts."""
        block = bidder.block
        enough = block.qty - block.left + left >= block.min_qty
        bidder.wanted, bidder.reason = left if enough else 0, reason

    def bring_back(self, this: Round, tries: int) -> Round:
        """Tries the blocks again that the prices would suit after all, the one that gains most first."""
        suited = [each for each in self.bidders.values() if each.reason != "max_cost" and self.is_suited(this, each)]
        suited = [(self.gain(this, each), -each.block.id) for each in suited]
        for _, negative_id in sorted(suited, reverse=True)[:tries]:
            bidder = self.bidders[-negative_id]
            before = bidder.wanted
            bidder.wanted = bidder.block.left
            other = self.play()
            if other.overpriced or other.nodeless:
                bidder.wanted = before
                bidder.reason = "price" if other.overpriced else "no_node_free_in_all_hours"
            else:
                this, bidder.reason = other, None
        return this

    def is_suited(self, this: Round, bidder: Bidder) -> bool:
        """Whether a block asks for less than it wants at prices that it would pay."""
        is_short = bidder.wanted < bidder.block.left
        return is_short and self.fills(this, bidder) is not None and self.gain(this, bidder) >= 0

    def gain(self, this: Round, bidder: Bidder) -> Fraction:
        cost = sum(fill.unit_micros for fill in self.fills(this, bidder))
        return Fraction(bidder.limit_sum_micros - cost, bidder.block.periods)

    # -- the result

    def trade_all(self, this: Round) -> None:
        """Trades every hour, then every block on its nodes; the last trade of a block returns its improvement."""
        served: dict[str, Counter[str]] = {contract: Counter() for contract in self.contracts}
        for block_id, nodes in this.served.items():
            for contract in self.bidders[block_id].contracts:
                served[contract].update(nodes)
        for contract, found in this.found.items():
            if found is not None:
                trade_clearing(self.market, Clearing(contract, found, served[contract]))
        for block_id, nodes in this.served.items():
            if nodes:
                self.trade_block(this, self.bidders[block_id], nodes)
        for bidder in self.bidders.values():
            if bidder.reason is not None:
                self.name_rejected(this, bidder)

    def trade_block(self, this: Round, bidder: Bidder, nodes: Nodes) -> None:
        block, fills = bidder.block, self.fills(this, bidder)
        qty = sum(nodes.values())
        spent = qty * sum(fill.cost_micros for fill in fills)
        block.left -= qty
        block.spent_micros += spent
        improvement = shrink_hold(block, spent)
        hours = list(zip(bidder.contracts, fills, strict=True))
        legs = [(*hour, *each) for each in nodes.items() for hour in hours]
        for step, (contract, fill, node, gpus) in enumerate(legs, start=1):
            back = improvement if step == len(legs) else 0
            for ask in [each for each in self.market.store.resting(contract, "sell") if each.node == node]:
                part = min(gpus, ask.left)
                gpus -= part
                released = part * fill.cost_micros + (0 if gpus else back)
                trade_pair(self.market, ask, block, part, fill, released)
                if not gpus:
                    break
        if not block.left:
            cancels.forget_block(self.market, block)

    def name_rejected(self, this: Round, bidder: Bidder) -> None:
        block, fills = bidder.block, self.fills(this, bidder)
        suited = fills is not None and self.gain(this, bidder) >= 0
        self.market.emit(
            AuctionBlockRejected,
            order_id=block.id,
            account=block.account,
            client_order_id=block.client_order_id,
            product=block.product,
            start_s=block.start_s,
            periods=block.periods,
            qty_rejected=block.left,
            limit_sum_micros=bidder.limit_sum_micros,
            cost_sum_micros=None if fills is None else sum(fill.unit_micros for fill in fills),
            reason="paradoxical" if suited and bidder.reason == "price" else bidder.reason,
        )


def clear(market: Market, name: str, contracts: list[str]) -> None:
    """Clears the product's open contracts together with its blocks."""
    auction = DayAhead(market, name, contracts)
    auction.trade_all(auction.play_rounds(market.state.products[name].newest.trading.auction_block_rounds))
