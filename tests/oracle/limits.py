"""What a product or an account may do at most: size, price band, open orders, position, throttle, protection, halts."""

from collections.abc import Callable, Sequence

from tests.oracle.world import Thing, World, live_of, need, product_of, reference, start_of

# -- of a product


def band(w: World, contract: str) -> Callable[[int], bool]:
    """Which prices lie near enough to the contract's reference as it stands now. [M-41]"""
    wide, around = product_of(w, contract).newest.trading.price_band_permille, reference(w, contract)
    return lambda price: not wide or around is None or abs(price - around) * 1000 <= wide * around


def check(
    w: World, product: Thing, account: str, side: str, qty: int, prices: dict, cost: int, orders: int, known: int = 0
) -> None:
    """Refuses what is beyond a limit; `known` GPUs of it were the account's to trade before. [M-43]"""
    rules = product.newest.trading
    need(rules.max_order_qty is None or qty <= rules.max_order_qty, "order_too_large")
    most = rules.max_order_notional_micros
    need(most is None or cost <= most, "notional_too_large")
    for contract, price in prices.items():
        need(price is None or band(w, contract)(price), "price_band")
    terms = w.limits[account].terms if account in w.limits else None
    live = live_of(w, account) if terms else []
    if terms and terms.max_open_orders is not None:
        need(len(live) + orders <= terms.max_open_orders, "order_limit")
    if terms and terms.max_position_gpus is not None:
        for contract in prices:
            resting = sum(each.left for each in live if reaches(w, each, side, contract))
            need(
                qty - known + traded(w, account, side, contract) + resting <= terms.max_position_gpus, "position_limit"
            )


def traded(w: World, account: str, side: str, contract: str) -> int:
    role = "buyer" if side == "buy" else "operator"
    positions = [each for each in w.positions.values() if each.contract == contract]
    return sum(each.qty for each in positions if getattr(each, role) == account)


def reaches(w: World, each: Thing, side: str, contract: str) -> bool:
    """Whether an order may yet trade on this side of the contract; an ask that resells takes nothing new on."""
    if each.kind != "block":
        return (each.side, each.contract) == (side, contract) and not (side == "sell" and each.node is None)
    product = w.products[each.product]
    end = each.latest + each.periods * product.newest.period_s
    return side == "buy" and contract.startswith(f"{each.product}-") and each.start <= start_of(contract) < end


# -- the pace of an account


def throttle(w: World, account: str) -> Thing | None:
    """The account's counters in the present window of log time, or None without a throttle. [M-44]"""
    known = w.limits.get(account)
    if known is None or not known.terms.throttle_window_s:
        return None
    window = w.now // (known.terms.throttle_window_s * 1000)
    if window != known.window:
        known.window, known.orders, known.trades = window, 0, 0
    return known


def need_pace(w: World, account: str) -> None:
    known = throttle(w, account)
    if known:
        free = known.terms.throttle_free_orders + known.terms.throttle_orders_per_trade * known.trades
        need(known.orders < free, "throttled")


def count_order(w: World, account: str) -> None:
    known = throttle(w, account)
    if known:
        known.orders += 1


def set_account_limits(w: World, command: object) -> None:
    fields = command.model_dump(exclude={"type"})
    if any(value for name, value in fields.items() if name != "account") or 0 in (
        command.max_open_orders,
        command.max_position_gpus,
    ):
        w.limits[command.account] = Thing(terms=command, window=-1, orders=0, trades=0)
    else:
        w.limits.pop(command.account, None)
    w.emit("account_limits_set", **fields)


# -- prices that move too fast


def breaks(w: World, contract: str, price: int, own: Sequence[int] = ()) -> bool:
    """Whether a trade at this price lies too far from one of the last seconds. [M-42]"""
    rules = product_of(w, contract).newest.trading
    known = w.contracts.get(contract)
    if not rules.velocity_permille or known is None:
        return False
    since = w.now - rules.velocity_window_s * 1000
    prices = [*(each for ts, each in known.recent if ts > since), *own]
    return any(abs(price - each) * 1000 > rules.velocity_permille * each for each in prices)


def forget_prices(w: World, name: str) -> None:
    """Without a halt that looks at them none are remembered. [M-42]"""
    for known in w.contracts.values():
        if known.product == name:
            known.recent = []


# -- who looks at a trade


def watch(w: World, contract: str, price: int, qty: int, buyer: str, seller: str, taker_side: str | None) -> None:
    """Tells velocity halt, throttles and protections of a trade; in an auction both sides rested. [M-45]"""
    known, product = w.contracts[contract], product_of(w, contract)
    known.last = price
    rules = product.newest.trading
    since = w.now - rules.velocity_window_s * 1000
    kept = [each for each in known.recent if each[0] > since and each != (w.now, price)]
    known.recent = [*kept, (w.now, price)] if rules.velocity_permille else []
    for account, is_maker in ((buyer, taker_side != "buy"), (seller, taker_side != "sell")):
        throttled = throttle(w, account)
        if throttled:
            throttled.trades += 1
        guard = w.protections.get((product.name, account))
        if guard and is_maker:
            guard.fills = [each for each in guard.fills if each[0] > w.now - guard.window_ms] + [(w.now, qty)]
            if sum(gpus for _, gpus in guard.fills) >= guard.qty and (product.name, account) not in w.pulls:
                w.pulls.append((product.name, account))
