"""A market maker's protection: when too much of what rests for him trades too fast, the rest of it is pulled."""

from matching_engine.rules import cancels
from matching_engine.rules.market import Market
from matching_engine.rules.money import RESERVED
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Protection
from schemas.events import ProtectionSet, ProtectionTriggered
from schemas.ids import product_of
from schemas.orders import SetProtection


def set_protection(market: Market, command: SetProtection) -> None:
    """Sets, changes or ends an account's protection in a product; what traded before counts no more."""
    require(command.account not in RESERVED, "not_permitted")
    require(command.product in market.state.products, "unknown_product")
    require((command.qty is None) == (command.window_ms is None), "bad_terms")
    protection = None if command.qty is None else Protection(command.qty, command.window_ms)
    market.store.terms.set_protection(command.product, command.account, protection)
    market.emit(ProtectionSet, **command.model_dump(exclude={"type"}))


def count_fill(market: Market, contract: str, account: str, qty: int) -> None:
    """Counts GPUs of a resting order that traded; the pull follows once the order that took them is done."""
    product = product_of(contract)
    protection = market.state.protections.get(product, {}).get(account)
    if protection is not None:
        since_ms = market.now_ms - protection.window_ms
        protection.fills = [each for each in protection.fills if each[0] > since_ms] + [(market.now_ms, qty)]
        if sum(qty for _, qty in protection.fills) >= protection.qty and (product, account) not in market.pulls:
            market.pulls.append((product, account))


def pull(market: Market) -> None:
    """Takes away what rests of the makers whose protection was reached, the oldest first. They may quote again.
    [M-45]
    """
    while market.pulls:
        product, account = market.pulls.pop(0)
        protection = market.state.protections[product][account]
        quotes = [order for order in market.store.resting_of(account) if product_of(order.contract) == product]
        for order in quotes:
            cancels.cancel_order(market, order, "protection")
        traded_qty, protection.fills = sum(qty for _, qty in protection.fills), []
        market.emit(
            ProtectionTriggered,
            account=account,
            product=product,
            traded_qty=traded_qty,
            window_ms=protection.window_ms,
            canceled=len(quotes),
        )
