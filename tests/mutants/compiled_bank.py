"""Bugs in the compiled engine; a whole build of what they touch each."""

from tests.mutants.mutant import Mutant

COMPILED_BANK = (
    # -- the book
    Mutant(
        "C: a better price is not the best",
        "book.pxd",
        "if side.best == NIL or key < side.best_key:",
        "if side.best == NIL:",
    ),
    Mutant(
        "C: a stale best price after the best level is gone",
        "book.pxd",
        "side.best_key = books.levels[side.best].key\n    level.head",
        "pass\n    level.head",
    ),
    Mutant(
        "C: a cancel in the middle of a level loses those in front",
        "book.pxd",
        "books.orders[order.next].prev = order.prev",
        "books.orders[order.next].prev = NIL",
    ),
    Mutant(
        "C: a cancel at the end of a level leaves its tail",
        "book.pxd",
        "level.tail = order.prev",
        "level.tail = level.head",
    ),
    Mutant(
        "C: a price tree that forgets to skip an empty span",
        "price_tree.pxd",
        "later = page.taken >> slot >> 1 << slot << 1",
        "later = page.taken >> slot >> 1 << slot",
    ),
    Mutant(
        "C: an id cut off from its home",
        "id_table.pxd",
        "if ((at - home) & table.mask) >= ((at - hole) & table.mask):",
        "if ((at - home) & table.mask) > ((at - hole) & table.mask):",
    ),
    Mutant(
        "C: ids of dead orders are found",
        "id_pages.pxd",
        "page.slots[id & 255] = NIL\n    page.live -= 1",
        "page.live -= 1",
    ),
    # -- matching
    Mutant(
        "C: orders at exactly the limit do not trade",
        "trading.pxd",
        "(ticks == 0 or (best >= ticks if sells else best <= ticks))",
        "(ticks == 0 or (best > ticks if sells else best < ticks))",
    ),
    Mutant(
        "C: a trade at the taker's price",
        "trading.pxd",
        "fill.price_micros = best_ticks(exchange, other) * contract.tick",
        "fill.price_micros = (taker.ticks or best_ticks(exchange, other)) * contract.tick",
    ),
    Mutant(
        "C: self-trade prevention ignored",
        "trading.pxd",
        "if order.handle == taker.account:",
        "if order.handle == NIL:",
    ),
    Mutant(
        "C: maker's and taker's fees change places",
        "trading.pxd",
        "contract.maker_fee_bps if taker.sells else contract.taker_fee_bps",
        "contract.taker_fee_bps if taker.sells else contract.maker_fee_bps",
    ),
    Mutant(
        "C: a market order spends what it has not",
        "trading.pxd",
        "needed = bid.hold_micros - fill.qty * (fill.unit_micros + fill.fee_micros)",
        "needed = bid.hold_micros - fill.qty * fill.unit_micros",
    ),
    Mutant(
        "C: a market order breaks a lot",
        "trading.pxd",
        "// contract.lot * contract.lot",
        "// 1",
    ),
    Mutant(
        "C: a partly filled bid holds a GPU too many",
        "trading.pxd",
        "bid.hold_micros - left * bid.hold_unit_micros",
        "bid.hold_micros - (left + 1) * bid.hold_unit_micros if left else bid.hold_micros",
    ),
    Mutant(
        "C: a node's sold GPUs are not counted",
        "trading.pxd",
        "exchange.nodes.counts[count].sold += traded.qty",
        "exchange.nodes.counts[count].sold += 1",
    ),
    Mutant(
        "C: two trades under one number",
        "trading.pxd",
        "exchange.last_trade_id += 1",
        "exchange.last_trade_id += 1 - taker.sells",
    ),
    # -- placing and cancelling
    Mutant(
        "C: an IOC remainder rests",
        "placing.pxd",
        "if taker.kind == MARKET or order.tif != GTG:",
        "if taker.kind == MARKET:",
    ),
    Mutant(
        "C: a self-cross remainder rests",
        "placing.pxd",
        'if stop == SELF_TRADE:\n        return cancel_rest(exchange, events, contract, taker, b"stp", stop)',
        "if stop == SELF_TRADE:\n        return put_to_rest(exchange, contract, order, taker)",
    ),
    Mutant(
        "C: a post-only order takes",
        "placing.pxd",
        "if order.post_only or contract.unusual:",
        "if contract.unusual:",
    ),
    Mutant(
        "C: an order meets an iceberg as if it showed everything",
        "placing.pxd",
        "if order.post_only or contract.unusual:",
        "if order.post_only:",
    ),
    Mutant(
        "C: blocks that wait are passed over",
        "placing.pxd",
        "if order.sells and exchange.blocks_wait:",
        "if order.sells and exchange.blocks_wait and False:",
    ),
    Mutant(
        "C: a silent node may sell",
        "placing.pxd",
        "if not node.alive or exchange.now_ms >= node.until_ms:",
        "if not node.alive or exchange.now_ms > node.until_ms + 1000:",
    ),
    Mutant(
        "C: a node sells one GPU more than it has",
        "placing.pxd",
        "if committed + order.qty > node.rentable:",
        "if committed + order.qty > node.rentable + 1:",
    ),
    Mutant(
        "C: a node's last GPU cannot be sold",
        "placing.pxd",
        "if committed + order.qty > node.rentable:",
        "if committed + order.qty >= node.rentable:",
    ),
    Mutant(
        "C: money may be spent twice",
        "placing.pxd",
        "exchange.accounts.balances[balance].available):",
        "2 * exchange.accounts.balances[balance].available):",
    ),
    Mutant(
        "C: another body under a client's id is answered with the first result",
        "placing.pxd",
        "if memcmp(binding.digest, order.digest, DIGEST_BYTES) != 0:",
        "if memcmp(binding.digest, order.digest, 0) != 0:",
    ),
    Mutant(
        "C: rules that have changed are not read again",
        "placing.pxd",
        "if contract.version != exchange.version:",
        "if contract.version < 0:",
    ),
    Mutant(
        "C: anybody may cancel",
        "canceling.pxd",
        "if exchange.books.orders[slot].handle != command.account:",
        "if exchange.books.orders[slot].handle == NIL:",
    ),
    Mutant(
        "C: a cancelled ask keeps its node's GPUs",
        "canceling.pxd",
        "exchange.nodes.counts[detail.count].committed -= <int>order.quantity",
        "exchange.nodes.counts[detail.count].committed -= 1",
    ),
    Mutant(
        "C: a cancel releases twice",
        "canceling.pxd",
        "if released and not post(exchange, balance, released, -released, &canceled.balance):",
        "if released and not post(exchange, balance, 2 * released, -released, &canceled.balance):",
    ),
    # -- capacity orders
    Mutant(
        "C: every hour has the curve's first price",
        "capacity_posting.pxd",
        "contract.start_s // 3600 % stretch.floors",
        "contract.start_s % stretch.floors",
    ),
    Mutant(
        "C: only the curve's first price must be on the tick",
        "capacity_posting.pxd",
        "if stretch.floors_micros[place] % tick:",
        "if stretch.floors_micros[0] % tick:",
    ),
    Mutant(
        "C: capacity needs money for its last hour only",
        "capacity_posting.pxd",
        "hold += hold_of(command.qty, ask_unit(",
        "hold = hold_of(command.qty, ask_unit(",
    ),
    Mutant(
        "C: capacity is past blocks that wait",
        "capacity_posting.pxd",
        "if command.account < RESERVED_ACCOUNTS or exchange.blocks_wait:",
        "if command.account < RESERVED_ACCOUNTS:",
    ),
    Mutant(
        "C: capacity ends without a timer",
        "capacity_posting.pxd",
        "exchange.deadline_ms = min(exchange.deadline_ms, posted.expires_ms)",
        "pass",
    ),
    Mutant(
        "C: the reference does not hear of a capacity order's last ask",
        "market.pyx",
        "range(parent_id + 1, parent_id + 1 + asks)",
        "range(parent_id + 1, parent_id + asks)",
    ),
    Mutant(
        "C: an hour's contract is its neighbour",
        "hours.pxd",
        "(start_s - product.first_s) % product.period_s:",
        "False:",
    ),
    # -- blocks
    Mutant(
        "C: of nodes that cost the same any comes first",
        "lots.pxd",
        "(one.unit_micros == other.unit_micros and one.age < other.age)",
        "(one.unit_micros == other.unit_micros and one.age > other.age)",
    ),
    Mutant(
        "C: a node's second ask of an hour comes first",
        "lots.pxd",
        "if price < other.price_micros:",
        "if price > other.price_micros:",
    ),
    Mutant(
        "C: a node stays where its first lot stood",
        "lots.pxd",
        "if pass_lot(exchange, search, block, top.hours, gpus):\n                put_back(exchange, search, block)",
        "if pass_lot(exchange, search, block, top.hours, gpus):\n                pass",
    ),
    Mutant(
        "C: a block takes its own account's asks",
        "lots.pxd",
        "if exchange.nodes.nodes[top.node].account == block.account:",
        "if exchange.nodes.nodes[top.node].account == NIL:",
    ),
    Mutant(
        "C: a lot dearer than the limit by a fee is taken",
        "lots.pxd",
        "if lot.unit_micros > block.limit_micros or lot.unit_micros + lot.fee_micros > block.hold_unit_micros:",
        "if lot.unit_micros > block.hold_unit_micros:",
    ),
    Mutant(
        "C: the lot that breaks the bound on the cost is taken",
        "lots.pxd",
        "if block.max_cost_micros and cost > block.max_cost_micros:",
        "if block.max_cost_micros and choice.cost_micros > block.max_cost_micros:",
    ),
    Mutant(
        "C: the best price of a block is rounded down",
        "lots.pxd",
        "(lot.price_micros + block.periods - 1) // block.periods",
        "lot.price_micros // block.periods",
    ),
    Mutant(
        "C: a node's next ask is not looked for",
        "node_row.pxd",
        "row.units[node] = UNKNOWN",
        "row.units[node] = NO_ASK",
    ),
    Mutant(
        "C: an ask that lost its place keeps its age",
        "records.pyx",
        "detail.rank = rank_of(order)",
        "detail.rank = order.id",
    ),
    Mutant(
        "C: a block's improvement comes back with every node",
        "block_filling.pxd",
        "last = place == search.taken_used - 1 and period == block.periods - 1",
        "last = period == block.periods - 1",
    ),
    Mutant(
        "C: fewer GPUs than a block accepts are traded",
        "block_placing.pxd",
        "if choice.gpus >= block.min_qty:",
        "if choice.gpus:",
    ),
    Mutant(
        "C: a block meets an iceberg as if it showed everything",
        "block_placing.pxd",
        "if not contract.trading or contract.unusual:",
        "if not contract.trading:",
    ),
    Mutant(
        "C: a block waits in secret",
        "block_placing.pxd",
        "exchange.blocks_wait = True",
        "pass",
    ),
    # -- money
    Mutant(
        "C: a fee is rounded down",
        "money.pxd",
        "return (unit * bps + 9999) // 10_000",
        "return unit * bps // 10_000",
    ),
    Mutant(
        "C: a bond does not see the index",
        "money.pxd",
        "max(price, contract.last_index) * contract.period_s",
        "price * contract.period_s",
    ),
    # -- snapshots
    Mutant(
        "C: an order that lost its place in time has it again in a snapshot",
        "saving.pyx",
        "self.orders.add(<uint64_t>exchange.details[slot].rank, 0, slot)",
        "self.orders.add(exchange.books.orders[slot].id, 0, slot)",
    ),
    Mutant(
        "C: clients' ids of a batch stand in a snapshot as they came",
        "saving.pyx",
        "sign = memcmp(first.text, second.text, min(first.size, second.size)) if first.text != NULL else 0",
        "sign = 0",
    ),
    Mutant(
        "C: a balance is loaded without what is held",
        "loading.pyx",
        "exchange.accounts.balances[slot].held = packed.held",
        "pass",
    ),
    # -- the log
    Mutant(
        "C: a deadline happens a record late",
        "execution.pxd",
        "if not exchange.is_open or now_ms >= exchange.deadline_ms:",
        "if not exchange.is_open or now_ms > exchange.deadline_ms:",
    ),
    Mutant(
        "C: log time goes back",
        "execution.pxd",
        "cdef int64_t now_ms = max(exchange.now_ms, command.ts_ms)",
        "cdef int64_t now_ms = command.ts_ms",
    ),
    Mutant(
        "C: client ids are kept longer than their gate",
        "core.pyx",
        "while self.gate_times and self.gate_times[0] <= now_ms:",
        "while self.gate_times and self.gate_times[0] < now_ms:",
    ),
    Mutant(
        "C: numbers with leading zeros are read",
        "wire.pxd",
        'if scanner.at == first or first[0] == c"0" or read > <uint64_t>at_most:',
        "if scanner.at == first or read > <uint64_t>at_most:",
    ),
    Mutant(
        "C: bytes behind a command are passed over",
        "command_text.pxd",
        '"min_qty":null,"use_vouchers":false,"stp":"cancel_newest"}\')\n        and here.at == here.end',
        '"min_qty":null,"use_vouchers":false,"stp":"cancel_newest"}\')',
    ),
)
