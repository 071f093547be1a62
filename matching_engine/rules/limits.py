"""What a new order must keep to: its product's size and price limits, and what its account may have at most."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from matching_engine.rules import rulesets
from matching_engine.rules.cancels import orders_of
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from matching_engine.rules.resale import is_resale
from matching_engine.rules.state import AccountLimits, Block, Order
from matching_engine.rules.store import start_of
from schemas.events import AccountLimitsSet
from schemas.orders import Side
from schemas.trading_rules import TradingRules
from schemas.venue import SetAccountLimits


@dataclass(frozen=True)
class Intent:
    """What a new order would come to: GPUs and price in each contract, what all of it may cost, orders it makes, GPUs
    of the order that it replaces or of positions that it resells.
    """

    account: str
    side: Side
    qty: int
    prices: dict[str, int | None]
    notional_micros: int
    orders: int = 1
    known_qty: int = 0


def check(market: Market, rules: TradingRules, intent: Intent) -> None:
    """Refuses what is beyond the product's or the account's limits. [M-41]"""
    require(rules.max_order_qty is None or intent.qty <= rules.max_order_qty, "order_too_large")
    most_micros = rules.max_order_notional_micros
    require(most_micros is None or intent.notional_micros <= most_micros, "notional_too_large")
    for contract, price_micros in intent.prices.items():
        require(price_micros is None or in_band(market, rules, contract, price_micros), "price_band")
    limits = market.state.limits.get(intent.account)
    if limits is not None:
        check_account(market, limits.terms, intent)


def in_band(market: Market, rules: TradingRules, contract: str, price_micros: int) -> bool:
    """Whether a limit lies near enough to the contract's reference; without one every price does."""
    return band(market, rules, contract)(price_micros)


def bound_of(market: Market, taker: Order) -> Callable[[int], bool]:
    """Says at which prices an arriving order may trade; its own trades do not move the reference."""
    if taker.kind != "market" or not rulesets.bounds_market_orders(market):
        return at_any_price
    return band(market, market.product_of(taker.contract).newest.trading, taker.contract)


def band(market: Market, rules: TradingRules, contract: str) -> Callable[[int], bool]:
    """Says which prices lie near enough to the contract's reference as it stands now."""
    reference = market.reference_micros(contract) if rules.price_band_permille else None
    if reference is None:
        return at_any_price
    return lambda price_micros: abs(price_micros - reference) * 1000 <= rules.price_band_permille * reference


def at_any_price(price_micros: int) -> bool:
    return True


# -- accounts


def set_account_limits(market: Market, command: SetAccountLimits) -> None:
    """Sets an account's limits anew; its products are watched where its trades must be counted."""
    ends = command == SetAccountLimits(account=command.account)
    market.store.terms.set_limits(command.account, None if ends else AccountLimits(command))
    watch_throttled(market)
    market.emit(AccountLimitsSet, **command.model_dump(exclude={"type"}))


def watch_throttled(market: Market) -> None:
    """Watches the trades of the products in which throttled accounts have orders, and of no other."""
    throttled = [account for account, limits in market.state.limits.items() if limits.terms.throttle_window_s]
    watched = {product_name_of(each) for account in throttled for each in orders_of(market, account)}
    for name in market.state.products:
        market.store.terms.set_watched(name, name in watched)


def check_account(market: Market, terms: SetAccountLimits, intent: Intent) -> None:
    """Refuses what is beyond the account's limits. [M-43]"""
    live = orders_of(market, intent.account)
    if terms.max_open_orders is not None:
        require(len(live) + intent.orders <= terms.max_open_orders, "order_limit")
    if terms.max_position_gpus is not None:
        for contract in intent.prices:
            resting = resting_gpus(market, live, intent.side, contract)
            gpus = intent.qty - intent.known_qty + traded_gpus(market, intent, contract) + resting
            require(gpus <= terms.max_position_gpus, "position_limit")


def product_name_of(each: Order | Block) -> str:
    return each.product if isinstance(each, Block) else each.contract.rpartition("-")[0]


def traded_gpus(market: Market, intent: Intent, contract: str) -> int:
    """The account's GPUs in a contract, bought or sold."""
    known = market.state.contracts.get(contract)
    positions = [market.state.positions[each] for each in known.positions] if known else []
    role = "buyer" if intent.side == "buy" else "operator"
    return sum(position.qty for position in positions if getattr(position, role) == intent.account)


def resting_gpus(market: Market, live: Iterable[Order | Block], side: Side, contract: str) -> int:
    """The GPUs that may still be traded on a side of a contract."""
    return sum(each.left for each in live if reaches(market, each, side, contract))


def reaches(market: Market, each: Order | Block, side: Side, contract: str) -> bool:
    if isinstance(each, Block):
        period_s = market.state.products[each.product].newest.period_s
        end_s = each.latest_s + each.periods * period_s
        is_in_time = each.start_s <= start_of(contract) < end_s
        return side == "buy" and is_in_time and each.product == contract.rpartition("-")[0]
    return (each.side, each.contract) == (side, contract) and not is_resale(each)
