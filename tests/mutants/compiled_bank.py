"""Bugs in the compiled engine; a whole build of what they touch each."""

from tests.mutants.mutant import Mutant

COMPILED_BANK = (
    # -- the book
    Mutant(
        "C: a better price is not the best",
        "pools/book.pxd",
        "if side.best == NIL or key < side.best_key:",
        "if side.best == NIL:",
    ),
    Mutant(
        "C: a stale best price after the best level is gone",
        "pools/book.pxd",
        "side.best_key = books.levels[side.best].key\n    level.head",
        "pass\n    level.head",
    ),
    Mutant(
        "C: a cancel in the middle of a level loses those in front",
        "pools/book.pxd",
        "books.orders[order.next].prev = order.prev",
        "books.orders[order.next].prev = NIL",
    ),
    Mutant(
        "C: a cancel at the end of a level leaves its tail",
        "pools/book.pxd",
        "level.tail = order.prev",
        "level.tail = level.head",
    ),
    Mutant(
        "C: a price tree that forgets to skip an empty span",
        "pools/price_tree.pxd",
        "later = page.taken >> slot >> 1 << slot << 1",
        "later = page.taken >> slot >> 1 << slot",
    ),
    Mutant(
        "C: an id cut off from its home",
        "pools/id_table.pxd",
        "if ((at - home) & table.mask) >= ((at - hole) & table.mask):",
        "if ((at - home) & table.mask) > ((at - hole) & table.mask):",
    ),
    Mutant(
        "C: ids of dead orders are found",
        "pools/id_pages.pxd",
        "page.slots[id & 255] = NIL\n    page.live -= 1",
        "page.live -= 1",
    ),
    # -- matching
    Mutant(
        "C: orders at exactly the limit do not trade",
        "fast/matching.pxd",
        "(ticks == 0 or (best >= ticks if sells else best <= ticks))",
        "(ticks == 0 or (best > ticks if sells else best < ticks))",
    ),
    Mutant(
        "C: a trade at the taker's price",
        "fast/matching.pxd",
        "fill.price_micros = best_ticks(exchange, other) * contract.tick",
        "fill.price_micros = (taker.ticks or best_ticks(exchange, other)) * contract.tick",
    ),
    Mutant(
        "C: self-trade prevention ignored",
        "fast/matching.pxd",
        "if order.owner == taker.account:",
        "if order.owner == NIL:",
    ),
    Mutant(
        "C: maker's and taker's fees change places",
        "fast/matching.pxd",
        "contract.maker_fee_bps if taker.sells else contract.taker_fee_bps",
        "contract.taker_fee_bps if taker.sells else contract.maker_fee_bps",
    ),
    Mutant(
        "C: a market order spends what it has not",
        "fast/matching.pxd",
        "needed = bid.hold_micros - fill.qty * (fill.unit_micros + fill.fee_micros)",
        "needed = bid.hold_micros - fill.qty * fill.unit_micros",
    ),
    Mutant(
        "C: a market order breaks a lot",
        "fast/matching.pxd",
        "(fill.unit_micros + fill.fee_micros) // contract.lot * contract.lot",
        "(fill.unit_micros + fill.fee_micros) // 1",
    ),
    Mutant(
        "C: a partly filled bid holds a GPU too many",
        "fast/matching.pxd",
        "bid.hold_micros - left * bid.hold_unit_micros",
        "bid.hold_micros - (left + 1) * bid.hold_unit_micros if left else bid.hold_micros",
    ),
    Mutant(
        "C: a node's sold GPUs are not counted",
        "fast/matching.pxd",
        "exchange.nodes.counts[count].sold += traded.qty",
        "exchange.nodes.counts[count].sold += 1",
    ),
    Mutant(
        "C: two trades under one number",
        "fast/matching.pxd",
        "exchange.last_trade_id += 1",
        "exchange.last_trade_id += 1 - (fill.qty & 1)",
    ),
    # -- placing and cancelling
    Mutant(
        "C: an IOC remainder rests",
        "fast/orders.pxd",
        "if taker.kind == MARKET or order.tif != GTG:",
        "if taker.kind == MARKET:",
    ),
    Mutant(
        "C: a self-cross remainder rests",
        "fast/orders.pxd",
        'if stop == SELF_TRADE:\n        return cancel_rest(exchange, events, contract, taker, b"stp", stop)',
        "if stop == SELF_TRADE:\n        return put_to_rest(exchange, contract, order, taker)",
    ),
    Mutant(
        "C: a post-only order takes",
        "fast/orders.pxd",
        "if order.post_only and would_cross(exchange, contract, order.sells, taker.ticks):",
        "if order.post_only and False:",
    ),
    Mutant(
        "C: a fill-or-kill order is filled in part",
        "fast/orders.pxd",
        "if filled >= wanted:",
        "if filled:",
    ),
    Mutant(
        "C: a fill-or-kill order counts on what lies beyond its limit",
        "fast/matching.pxd",
        "if taker.ticks and (price < taker.ticks if taker.sells else price > taker.ticks):",
        "if False:",
    ),
    Mutant(
        "C: a fill-or-kill order at market counts on more than it may spend",
        "fast/matching.pxd",
        "budget -= qty * unit",
        "pass",
    ),
    Mutant(
        "C: an order meets an iceberg as if it showed everything",
        "fast/matching.pxd",
        "if exchange.details[slot].special == SPECIAL_TRADING:",
        "if False:",
    ),
    Mutant(
        "C: a silent node may sell",
        "fast/orders.pxd",
        "if not node.alive or exchange.now_ms >= node.until_ms:",
        "if not node.alive or exchange.now_ms > node.until_ms + 1000:",
    ),
    Mutant(
        "C: a node sells one GPU more than it has",
        "fast/orders.pxd",
        "if committed + order.qty > node.rentable:",
        "if committed + order.qty > node.rentable + 1:",
    ),
    Mutant(
        "C: a node's last GPU cannot be sold",
        "fast/orders.pxd",
        "if committed + order.qty > node.rentable:",
        "if committed + order.qty >= node.rentable:",
    ),
    Mutant(
        "C: money may be spent twice",
        "fast/orders.pxd",
        "exchange.accounts.balances[balance].available):",
        "2 * exchange.accounts.balances[balance].available):",
    ),
    Mutant(
        "C: another body under a client's id is answered with the first result",
        "fast/orders.pxd",
        "if memcmp(binding.digest, order.digest, DIGEST_BYTES) != 0:",
        "if memcmp(binding.digest, order.digest, 0) != 0:",
    ),
    Mutant(
        "C: rules that have changed are not read again",
        "fast/orders.pxd",
        "if contract.version != exchange.version:",
        "if contract.version < 0:",
    ),
    Mutant(
        "C: anybody may cancel",
        "fast/cancels.pxd",
        "if exchange.books.orders[slot].owner != command.account:",
        "if exchange.books.orders[slot].owner == NIL:",
    ),
    Mutant(
        "C: a cancelled ask keeps its node's GPUs",
        "fast/cancels.pxd",
        "exchange.nodes.counts[detail.count].committed -= <int>order.quantity",
        "exchange.nodes.counts[detail.count].committed -= 1",
    ),
    Mutant(
        "C: a cancel releases twice",
        "fast/cancels.pxd",
        "if released and not post(exchange, balance, released, -released, &canceled.balance):",
        "if released and not post(exchange, balance, 2 * released, -released, &canceled.balance):",
    ),
    # -- money
    Mutant(
        "C: a fee is rounded down",
        "fast/money.pxd",
        "return (unit * bps + 9999) // 10_000",
        "return unit * bps // 10_000",
    ),
    Mutant(
        "C: a bond does not see the index",
        "fast/money.pxd",
        "max(price, contract.last_index) * contract.period_s",
        "price * contract.period_s",
    ),
    # -- snapshots
    Mutant(
        "C: what a node sold by special orders alone is not in a snapshot",
        "snapshots/save.pyx",
        "    store.move_all_counts()\n",
        "",
    ),
    Mutant(
        "C: the fields of special orders are forgotten with those of others that are gone",
        "bridge/orders.pyx",
        "core.special_orders = {each: kept for each, kept in core.special_orders.items() if is_kept(core, each)}",
        "core.special_orders = {}",
    ),
    Mutant(
        "C: an order that lost its place in time has it again in a snapshot",
        "snapshots/save.pyx",
        "self.orders.add(<uint64_t>exchange.details[slot].rank, 0, slot)",
        "self.orders.add(exchange.books.orders[slot].id, 0, slot)",
    ),
    Mutant(
        "C: clients' ids of a batch stand in a snapshot as they came",
        "snapshots/save.pyx",
        "sign = memcmp(first.text, second.text, min(first.size, second.size)) if first.text != NULL else 0",
        "sign = 0",
    ),
    Mutant(
        "C: a balance is loaded without what is held",
        "snapshots/load.pyx",
        "exchange.accounts.balances[slot].held = packed.held",
        "pass",
    ),
    # -- the log
    Mutant(
        "C: a deadline happens a record late",
        "fast/run.pxd",
        "if not exchange.is_open or now_ms >= exchange.deadline_ms:",
        "if not exchange.is_open or now_ms > exchange.deadline_ms:",
    ),
    Mutant(
        "C: log time goes back",
        "fast/run.pxd",
        "cdef int64_t now_ms = max(exchange.now_ms, command.ts_ms)",
        "cdef int64_t now_ms = command.ts_ms",
    ),
    Mutant(
        "C: client ids are kept longer than their gate",
        "bridge/core.pyx",
        "while self.gate_times and self.gate_times[0] <= now_ms:",
        "while self.gate_times and self.gate_times[0] < now_ms:",
    ),
    Mutant(
        "C: numbers with leading zeros are read",
        "codec/wire.pxd",
        'if scanner.at == first or first[0] == c"0" or read > <uint64_t>at_most:',
        "if scanner.at == first or read > <uint64_t>at_most:",
    ),
    Mutant(
        "C: bytes behind a command are passed over",
        "codec/read_command.pxd",
        'and read_optional(here, &place.min_qty, QTY_MAX)\n        and skip(here, b\',"use_vouchers":false,'
        '"stp":"cancel_newest"}\')\n        and here.at == here.end',
        'and read_optional(here, &place.min_qty, QTY_MAX)\n        and skip(here, b\',"use_vouchers":false,'
        '"stp":"cancel_newest"}\')',
    ),
)
