"""Products and the rolling horizon of their contracts: which exist, which are listed, whose gate is open."""

from functools import lru_cache

from matching_engine.rules import deadlines, rulesets
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Product
from matching_engine.rules.store import start_of
from matching_engine.rules.trading_schedule import follow_schedule, scheduled_state
from schemas.events import ContractsListed, ProductDefined, ProductStateChanged
from schemas.ids import contract_name
from schemas.venue import DefineProduct, ProductState
from schemas.vouchers import is_cash

name_of = lru_cache(maxsize=65_536)(contract_name)
FIXED_TERMS = ("currency", "period_s", "gate_lead_s", "lot")
CLOSED_CODES = {"CLOSED": "product_closed", "CANCEL_ONLY": "product_cancel_only", "HALTED": "product_halted"}


def define_product(market: Market, command: DefineProduct) -> None:
    """Sets the terms of contracts listed from now on. A new product is open for trading at once, unless
    its schedule says otherwise; trading rules count at once for all contracts.

    Currency, period, gate and lot stay for a product's life, and all products of a grade and hub share one period, so
    that one count per node and period backs the asks of all of them. [M-2]
    """
    known = market.state.products.get(command.product)
    check_terms(market, command, known)
    if known is None:
        state = scheduled_state(command, market.now_ms) or "OPEN"
        known = market.state.products[command.product] = Product(state, [])
        first_s = first_open_start_s(market, command)
        known.listed_to_s = first_s - command.period_s
        market.at(next_boundary_ms(market, command), deadlines.LISTING, command.product)
        state_is_new = True
    else:
        state_is_new = False
    known.versions.append((known.listed_to_s + command.period_s, command))
    forget_prices(market, command.product)
    follow_schedule(market, command.product, market.now_ms)
    market.emit(ProductDefined, terms=command)
    if state_is_new:
        market.emit(ProductStateChanged, product=command.product, state=known.state, reason="defined", opens_ms=None)
    list_contracts(market, command.product)


def check_terms(market: Market, command: DefineProduct, known: Product | None) -> None:
    require(command.product == f"{command.grade}.{command.hub}.{command.tier}", "bad_terms")
    require(is_cash(command.currency), "not_cash")
    require(command.full_damage_permille < command.dead_band_permille, "bad_terms")
    if known is not None:
        require(all(getattr(command, name) == getattr(known.newest, name) for name in FIXED_TERMS), "bad_terms")
    for other in market.state.products.values():
        if (other.newest.grade, other.newest.hub) == (command.grade, command.hub):
            require(other.newest.period_s == command.period_s, "bad_terms")


def enter_state(market: Market, name: str, state: ProductState, reason: str, opens_after_s: int | None = None) -> None:
    """Puts a product into a state; an auction may be told when to end."""
    opens_ms = None if opens_after_s is None else market.now_ms + opens_after_s * 1000
    market.store.terms.set_product_state(name, state, opens_ms)
    if opens_ms is not None:
        market.at(opens_ms, deadlines.AUCTION_END, name)
    market.emit(ProductStateChanged, product=name, state=state, reason=reason, opens_ms=opens_ms)


def forget_prices(market: Market, name: str) -> None:
    """Where no velocity halt looks at them, prices of trades are not remembered. [M-42]"""
    halts = market.state.products[name].newest.trading.velocity_permille
    if halts or not rulesets.forgets_prices_without_a_halt(market):
        return
    for known in market.state.contracts.values():
        if known.product == name:
            known.recent_trades = []


# -- the horizon


def first_open_start_s(market: Market, terms: DefineProduct) -> int:
    """The first delivery start whose gate has not closed."""
    return ((market.now_ms + terms.gate_lead_s * 1000) // (terms.period_s * 1000) + 1) * terms.period_s


def next_boundary_ms(market: Market, terms: DefineProduct) -> int:
    period_ms = terms.period_s * 1000
    return (market.now_ms // period_ms + 1) * period_ms


def list_contracts(market: Market, name: str) -> None:
    """Lists what the horizon has come to reach; a contract whose gate has passed meanwhile is never listed. [M-3]"""
    product = market.state.products[name]
    terms = product.newest
    last_s = (market.now_ms // (terms.period_s * 1000) + terms.horizon_periods) * terms.period_s
    first_s = max(product.listed_to_s + terms.period_s, first_open_start_s(market, terms))
    if first_s > last_s:
        return
    if not product.windows:
        market.at((first_s - terms.gate_lead_s) * 1000, deadlines.GATE, contract_name(name, first_s, terms.period_s))
    if product.windows and product.windows[-1][1] + terms.period_s == first_s:
        product.windows[-1] = (product.windows[-1][0], last_s)
    else:
        product.windows.append((first_s, last_s))
    product.listed_to_s = last_s
    market.emit(ContractsListed, product=name, period_s=terms.period_s, first_start_s=first_s, last_start_s=last_s)


def roll_horizon(market: Market, name: str) -> None:
    """A period began: the horizon moves on."""
    list_contracts(market, name)
    market.at(next_boundary_ms(market, market.state.products[name].newest), deadlines.LISTING, name)


def close_first_window(market: Market, name: str) -> None:
    """The gate of the product's first listed contract closed: the next one's is due next."""
    product = market.state.products[name]
    period_s, lead_s = product.newest.period_s, product.newest.gate_lead_s
    first_s, last_s = product.windows.pop(0)
    if first_s < last_s:
        product.windows.insert(0, (first_s + period_s, last_s))
    if product.windows:
        start_s = product.windows[0][0]
        market.at((start_s - lead_s) * 1000, deadlines.GATE, contract_name(name, start_s, period_s))


# -- looking a contract up


def find_contract(market: Market, contract: str) -> int:
    """Returns the delivery start of a contract that is or was listed. Refuses unknown_product, unlisted_contract.
    [M-1]
    """
    name = contract.rpartition("-")[0]
    product = market.state.products.get(name)
    require(product is not None, "unknown_product")
    start_s = start_of(contract)
    require(start_s is not None and is_known_start(product, start_s), "unlisted_contract")
    require(contract_name(name, start_s, product.newest.period_s) == contract, "unlisted_contract")
    return start_s


def is_known_start(product: Product, start_s: int) -> bool:
    return start_s % product.newest.period_s == 0 and product.versions[0][0] <= start_s <= product.listed_to_s


def is_open(product: Product, start_s: int) -> bool:
    """Whether a known delivery start can still be traded."""
    return any(first_s <= start_s <= last_s for first_s, last_s in product.windows)


def require_trading(product: Product, waits: bool = True) -> None:
    """Refuses new orders unless the product is open, or in auction and the order is one that may wait for its end.

    Cancels need no permission, and gates close in every state, so that nobody is locked in. [M-6]
    """
    if product.state in CLOSED_CODES:
        raise RuleBroken(CLOSED_CODES[product.state])
    require(product.state == "OPEN" or waits, "not_in_auction")


def require_replacing(product: Product, waits: bool, only_less: bool) -> None:
    """Refuses a replace as a new order would be; where orders may only be cancelled, one for less may pass."""
    if not (product.state == "CANCEL_ONLY" and only_less):
        require_trading(product, waits)


def require_open(market: Market, name: str, start_s: int, periods: int) -> list[str]:
    """Returns the names of consecutive contracts, all listed with their gate open; refuses where one is not."""
    product = market.state.products.get(name)
    require(product is not None, "unknown_product")
    period_s = product.newest.period_s
    starts = range(start_s, start_s + periods * period_s, period_s)
    require(is_known_start(product, starts[0]) and is_known_start(product, starts[-1]), "unlisted_contract")
    require(all(is_open(product, start) for start in starts), "gate_closed")
    return [name_of(name, start, period_s) for start in starts]


def gate_ms(product: Product, start_s: int) -> int:
    """When the gate of a contract closes."""
    return (start_s - product.newest.gate_lead_s) * 1000
