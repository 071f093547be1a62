"""Bugs in rules that both engines run from one file: auctions, vouchers, resale, voids, time. The oracle sees them."""

from tests.mutants.mutant import Mutant

RULES = "rules"
SHARED_BANK = (
    Mutant(
        "an auction keeps each node's first asks for blocks",
        f"{RULES}/uncrossing.py",
        "for ask, qty in reversed(asks):",
        "for ask, qty in asks:",
    ),
    Mutant(
        "the lowest limit chooses its nodes first",
        f"{RULES}/day_ahead.py",
        "key=lambda each: (-each.block.limit_price_micros, each.block.id)",
        "key=lambda each: (each.block.limit_price_micros, each.block.id)",
    ),
    Mutant(
        "a block that an auction rejected is not tried again",
        f"{RULES}/day_ahead.py",
        "return self.bring_back(this, rounds)",
        "return this",
    ),
    Mutant(
        "vouchers with the latest expiry go first",
        f"{RULES}/vouchers.py",
        "key=lambda each: (each[1].terms.expires_ms, each[0])",
        "key=lambda each: (-each[1].terms.expires_ms, each[0])",
    ),
    Mutant(
        "each programme's share is rounded by itself",
        f"{RULES}/voucher_money.py",
        "shares[name] = total * part // whole - before * part // whole",
        "shares[name] = amount * part // whole",
    ),
    Mutant(
        "lapsed vouchers go back to their holder",
        f"{RULES}/voucher_money.py",
        "add(self.issuer(name) if has_lapsed else account, available=amount)",
        "add(account, available=amount)",
    ),
    Mutant(
        "a resold part leaves its fee behind",
        f"{RULES}/resale.py",
        "fee_micros=source.fee_micros * qty // source.qty + qty * fill.fee_micros,",
        "fee_micros=qty * fill.fee_micros,",
    ),
    Mutant(
        "the newest position is resold first",
        f"{RULES}/resale.py",
        "for position in positions_in(market, account, contract, position_id, block_id):",
        "for position in positions_in(market, account, contract, position_id, block_id)[::-1]:",
    ),
    Mutant(
        "a market sell may lose its whole bound on each GPU",
        f"{RULES}/resale.py",
        "<= ask.max_cost_micros // ask.qty",
        "<= ask.max_cost_micros",
    ),
    Mutant(
        "a void contract excuses nothing",
        f"{RULES}/voiding.py",
        "excused_gpu_s=position.qty * terms.period_s,",
        "excused_gpu_s=0,",
    ),
    Mutant(
        "a deadline that was moved happens where its first one stood",
        f"{RULES}/log_time.py",
        "time_ms if rulesets.keeps_moved_deadlines_in_order(market) else market.now_ms",
        "market.now_ms",
    ),
    Mutant(
        "a throttled account's first order earns nothing by its trade",
        f"{RULES}/throttle.py",
        "limits is not None and limits.terms.throttle_window_s > 0",
        "False",
    ),
    Mutant(
        "prices outlive the halt that remembered them",
        f"{RULES}/products.py",
        "if halts or not rulesets.forgets_prices_without_a_halt(market):",
        "if market is not None:",
    ),
)
