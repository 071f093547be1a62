"""Bugs in the compiled engine's capacity orders and blocks; a whole build of what they touch each."""

from tests.mutants.mutant import Mutant

COMPILED_BLOCKS_BANK = (
    # -- capacity orders
    Mutant(
        "C: every hour has the curve's first price",
        "fast/capacity.pxd",
        "contract.start_s // 3600 % period_range.floors",
        "contract.start_s % period_range.floors",
    ),
    Mutant(
        "C: only the curve's first price must be on the tick",
        "fast/capacity.pxd",
        "if period_range.floors_micros[place] % tick:",
        "if period_range.floors_micros[0] % tick:",
    ),
    Mutant(
        "C: capacity needs money for its last hour only",
        "fast/capacity.pxd",
        "hold += hold_of(command.qty, ask_unit(",
        "hold = hold_of(command.qty, ask_unit(",
    ),
    Mutant(
        "C: capacity is past blocks that wait",
        "fast/capacity.pxd",
        "search.rested[period + 1] = search.rested[period] + rests",
        "search.rested[period + 1] = search.rested[period]",
    ),
    Mutant(
        "C: capacity ends without a timer",
        "fast/capacity.pxd",
        "exchange.deadline_ms = min(exchange.deadline_ms, posted.expires_ms)",
        "pass",
    ),
    Mutant(
        "C: the reference does not hear of a capacity order's last ask",
        "bridge/capacity_orders.py",
        "range(parent_id + 1, parent_id + 1 + asks)",
        "range(parent_id + 1, parent_id + asks)",
    ),
    Mutant(
        "C: an hour's contract is its neighbour",
        "records/hours.pxd",
        "(start_s - product.first_s) % product.period_s:",
        "False:",
    ),
    # -- blocks
    Mutant(
        "C: of nodes that cost the same any comes first",
        "fast/lots.pxd",
        "(one.unit_micros == other.unit_micros and one.age < other.age)",
        "(one.unit_micros == other.unit_micros and one.age > other.age)",
    ),
    Mutant(
        "C: a node's second ask of an hour comes first",
        "fast/lots.pxd",
        "if price < other.price_micros:",
        "if price > other.price_micros:",
    ),
    Mutant(
        "C: a node stays where its first lot stood",
        "fast/lots.pxd",
        "if pass_lot(exchange, search, block, top.hours):\n                put_back(exchange, search, block)",
        "if pass_lot(exchange, search, block, top.hours):\n                pass",
    ),
    Mutant(
        "C: a block takes its own account's asks",
        "fast/lots.pxd",
        "if exchange.nodes.nodes[top.node].account == block.account:",
        "if exchange.nodes.nodes[top.node].account == NIL:",
    ),
    Mutant(
        "C: a lot dearer than the limit by a fee is taken",
        "fast/lots.pxd",
        "if lot.unit_micros > block.limit_micros or lot.unit_micros + lot.fee_micros > block.hold_unit_micros:",
        "if lot.unit_micros > block.hold_unit_micros:",
    ),
    Mutant(
        "C: the lot that breaks the bound on the cost is taken",
        "fast/lots.pxd",
        "if block.max_cost_micros and block.spent_micros + cost > block.max_cost_micros:",
        "if block.max_cost_micros and block.spent_micros + choice.cost_micros > block.max_cost_micros:",
    ),
    Mutant(
        "C: the best price of a block is rounded down",
        "fast/lots.pxd",
        "(lot.price_micros + block.periods - 1) // block.periods",
        "lot.price_micros // block.periods",
    ),
    Mutant(
        "C: a node's next ask is not looked for",
        "records/node_row.pxd",
        "row.units[node] = UNKNOWN",
        "row.units[node] = NO_ASK",
    ),
    Mutant(
        "C: an ask that lost its place keeps its age",
        "bridge/orders.pyx",
        "detail.rank = rank_of(order)",
        "detail.rank = order.id",
    ),
    Mutant(
        "C: a block's improvement comes back with every node",
        "fast/block_fills.pxd",
        "last = place == search.taken_used - 1 and period == block.periods - 1",
        "last = period == block.periods - 1",
    ),
    Mutant(
        "C: a block's dear rest is held in 64 bits",
        "fast/block_fills.pxd",
        "cdef wide whole = hold_of(block.left, block.hold_unit_micros)",
        "cdef wide whole = <int64_t>(block.left * block.hold_unit_micros)",
    ),
    Mutant(
        "C: fewer GPUs than a block accepts are traded",
        "fast/lots.pxd",
        "choice.gpus != 0 and block.qty - block.left + choice.gpus >= block.min_qty",
        "choice.gpus != 0",
    ),
    Mutant(
        "C: a block meets an iceberg as if it showed everything",
        "fast/blocks.pxd",
        "if not contract.trading or contract.special_count[1]:",
        "if not contract.trading:",
    ),
    Mutant(
        "C: a block waits in secret",
        "fast/blocks.pxd",
        "note_block(&exchange.blocks.new, block.id)",
        "pass",
    ),
    # -- blocks that wait
    Mutant(
        "C: blocks that wait are passed over",
        "fast/orders.pxd",
        "if outcome == DONE and order.sells and rests:",
        "if outcome == DONE and order.sells and rests and False:",
    ),
    Mutant(
        "C: a block that waits meets an iceberg as if it showed everything",
        "fast/waiting_blocks.pxd",
        "if exchange.contracts[contracts[period]].special_count[1]:",
        "if False:",
    ),
    Mutant(
        "C: a block is tried in its first period only",
        "fast/waiting_blocks.pxd",
        "return block.first_s < end_s and first_s < end_of_block_s",
        "return block.first_s < end_s and first_s <= block.first_s",
    ),
    Mutant(
        "C: blocks are tried without a bound",
        "fast/waiting_blocks.pxd",
        "while product.pending and trials < trials_max and outcome == DONE:",
        "while product.pending and outcome == DONE:",
    ),
    Mutant(
        "C: own nodes count as trials",
        "fast/lots.pxd",
        "count += first.nodes.units[node] != NO_ASK and exchange.nodes.nodes[node].account != block.account",
        "count += first.nodes.units[node] != NO_ASK",
    ),
    Mutant(
        "C: a flex takes the first start that serves",
        "fast/lots.pxd",
        "return <wide>one.cost_micros * other.gpus < <wide>other.cost_micros * one.gpus",
        "return False",
    ),
    Mutant(
        "C: a flex that has its start waits for its others too",
        "fast/block_fills.pxd",
        "block.first_s = block.latest_s = first_s",
        "block.first_s = first_s",
    ),
    Mutant(
        "C: a block that has all it wants is tried again",
        "fast/waiting_blocks.pxd",
        "if outcome == DONE and block.left == 0:",
        "if outcome == DONE and block.left == 1:",
    ),
    Mutant(
        "C: the rules do not hear which blocks are to be tried",
        "fast/waiting_blocks.pxd",
        "product.tried = exchange.blocks.tried = True",
        "pass",
    ),
)
