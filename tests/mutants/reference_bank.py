"""Bugs in the rules in Python, many of which both engines run."""

from tests.mutants.mutant import Mutant

REFERENCE_BANK = (
    # -- priority and price
    Mutant(
        "a trade at the taker's price",
        "rules/matching.py",
        "return fill_at(terms, maker.price_micros, terms.taker_fee_bps",
        "return fill_at(terms, taker.price_micros or maker.price_micros, terms.taker_fee_bps",
    ),
    Mutant(
        "the newest order first at a price",
        "rules/store.py",
        "else order.price_micros, rank_of(order), order.id)",
        "else order.price_micros, -rank_of(order), order.id)",
    ),
    Mutant(
        "a limit order walks through its limit",
        "rules/matching.py",
        "return maker.price_micros <= taker.price_micros",
        "return maker.price_micros <= taker.price_micros + 10_000",
    ),
    Mutant(
        "orders at exactly the limit do not trade",
        "rules/matching.py",
        "return maker.price_micros >= taker.price_micros",
        "return maker.price_micros > taker.price_micros",
    ),
    Mutant(
        "a replaced order keeps its place when it grows",
        "rules/replaces.py",
        "kept = price_micros == order.price_micros and left <= order.left and not later",
        "kept = price_micros == order.price_micros and not later",
    ),
    Mutant(
        "an iceberg's next part keeps its place",
        "rules/icebergs.py",
        "order.conditions.rank = market.next_rank()",
        "market.next_rank()",
    ),
    # -- what becomes of orders
    Mutant(
        "self-trade prevention ignored",
        "rules/matching.py",
        'if maker.account == taker.account:\n        return 0, "self_trade"',
        'if maker.account == "nobody":\n        return 0, "self_trade"',
    ),
    Mutant(
        "a self-cross remainder rests",
        "rules/matching.py",
        'if reason == "self_trade":\n        cancels',
        'if reason == "never":\n        cancels',
    ),
    Mutant(
        "an IOC remainder rests",
        "rules/matching.py",
        'if order.kind == "market" or order.tif not in RESTING:',
        'if order.kind == "market":',
    ),
    Mutant(
        "a post-only order takes",
        "rules/orders.py",
        "crossing = command.post_only and would_cross(market, order)",
        "crossing = False",
    ),
    Mutant(
        "the last order of a gate is forgotten",
        "rules/log_time.py",
        "in sorted(cancels.orders_in(market, contract), key=lambda order: order.id):",
        "in sorted(cancels.orders_in(market, contract), key=lambda order: order.id)[:-1]:",
    ),
    Mutant(
        "a GTD order lives a millisecond longer",
        "rules/log_time.py",
        "order.conditions.expires_ms <= market.reached_ms:",
        "order.conditions.expires_ms < market.reached_ms:",
    ),
    Mutant(
        "a mass cancel by side takes both",
        "rules/cancels.py",
        "named = (command.product, product), (command.contract, contract), (command.side, side)",
        "named = (command.product, product), (command.contract, contract)",
    ),
    Mutant(
        "anybody may cancel",
        "rules/cancels.py",
        "if live[0].account != command.account:",
        "if not live[0].account:",
    ),
    # -- money
    Mutant(
        "a fee is rounded down",
        "rules/money.py",
        "return ceil_div(unit * bps, 10_000)",
        "return unit * bps // 10_000",
    ),
    Mutant(
        "a bond is rounded down",
        "rules/money.py",
        "return ceil_div(permille * max(price_micros, last_index_micros or 0) * terms.period_s, 3600 * 1000)",
        "return permille * max(price_micros, last_index_micros or 0) * terms.period_s // (3600 * 1000)",
    ),
    Mutant(
        "a bond does not see the index",
        "rules/money.py",
        "max(price_micros, last_index_micros or 0)",
        "price_micros",
    ),
    Mutant(
        "a bid holds the cheaper fee",
        "rules/money.py",
        "max(terms.maker_fee_bps, terms.taker_fee_bps)",
        "min(terms.maker_fee_bps, terms.taker_fee_bps)",
    ),
    Mutant(
        "maker's and taker's fees change places",
        "rules/matching.py",
        'terms.taker_fee_bps if taker.side == "buy" else terms.maker_fee_bps',
        'terms.maker_fee_bps if taker.side == "buy" else terms.taker_fee_bps',
    ),
    Mutant(
        "a cancel releases twice",
        "rules/cancels.py",
        "return market.entry(terms.currency).hold(order.account, -released).post()",
        "return market.entry(terms.currency).hold(order.account, -2 * released).post()",
    ),
    Mutant(
        "a fill's improvement is kept",
        "rules/matching.py",
        "needed_micros = bid.left * bid.hold_unit_micros",
        "needed_micros = bid.hold_micros - qty * fill.cost_micros",
    ),
    Mutant(
        "money may be spent twice",
        "rules/money.py",
        'require(in_range(amount_micros) <= self.available(account, asset), "insufficient_funds")',
        'require(in_range(amount_micros) <= 2 * self.available(account, asset), "insufficient_funds")',
    ),
    Mutant(
        "the whole bond comes back at the end",
        "rules/settling.py",
        "-position.bond_left_micros - position.payout_held_micros)",
        "-position.bond_micros - position.payout_held_micros)",
    ),
    Mutant(
        "a held payout stays held",
        "rules/settling.py",
        "-position.bond_left_micros - position.payout_held_micros)",
        "-position.bond_left_micros)",
    ),
    Mutant(
        "damages are not capped by the bond",
        "settlement.py",
        "ld = min(ld, bond)",
        "ld = min(ld, 2 * bond)",
    ),
    Mutant(
        "the settlement fee is rounded up",
        "settlement.py",
        "fee = gross * fee_bps // 10_000",
        "fee = -(-gross * fee_bps // 10_000)",
    ),
    Mutant(
        "claims are paid the newest first",
        "rules/claims.py",
        "for claim in [each for each in market.state.claims if (each.debtor, each.asset) == (debtor, asset)]:",
        "for claim in [each for each in market.state.claims if (each.debtor, each.asset) == (debtor, asset)][::-1]:",
    ),
    # -- nodes and blocks
    Mutant(
        "a node sells one GPU more than it has",
        "rules/orders.py",
        "require(node.committed.get(start_s, 0) + gpus <= counts.rentable(market.state, node)",
        "require(node.committed.get(start_s, 0) + gpus <= counts.rentable(market.state, node) + 1",
    ),
    Mutant(
        "a silent node may sell",
        "rules/orders.py",
        'require(node.alive and market.now_ms < node.until_ms, "node_not_alive")',
        'require(node.alive, "node_not_alive")',
    ),
    Mutant(
        "a cancelled ask keeps its node's GPUs",
        "rules/cancels.py",
        "known.start_s, -counts.given_back(market, order, qty))",
        "known.start_s, min(0, 1 - counts.given_back(market, order, qty)))",
    ),
    Mutant(
        "a silent node keeps its first ask",
        "rules/nodes.py",
        "for order in market.store.asks_of(name):\n        cancels",
        "for order in market.store.asks_of(name)[1:]:\n        cancels",
    ),
    Mutant(
        "a block takes the dearest lots",
        "rules/lots.py",
        "iter(sorted(lot for node in hours[0] for lot in lots_of(market, contracts, node, hours)))",
        "iter(sorted((lot for node in hours[0] for lot in lots_of(market, contracts, node, hours)), reverse=True))",
    ),
    Mutant(
        "a block passes over its least quantity",
        "rules/lots.py",
        "if block.qty - block.left + fitting_gpus < block.min_qty:",
        "if block.qty - block.left + fitting_gpus <= block.min_qty:",
    ),
    Mutant(
        "the newest block is tried first",
        "rules/blocks.py",
        "market.state.pending_blocks[product] = sorted(pending)",
        "market.state.pending_blocks[product] = sorted(pending, reverse=True)",
    ),
    Mutant(
        "a flex starts late among equals",
        "rules/lots.py",
        "key=lambda choice: (choice.average_micros, choice.start_s)",
        "key=lambda choice: (choice.average_micros, -choice.start_s)",
    ),
    Mutant(
        "a GPU serves two positions in an hour",
        "rules/delivery.py",
        'require(uuid not in taken, "bad_nomination")',
        'require(uuid is not None, "bad_nomination")',
    ),
    Mutant(
        "a GPU that positions need is sold",
        "rules/hardware.py",
        "require(most_sold(node) <= counts.rentable(market.state, node) - gpus",
        "require(most_sold(node) <= counts.rentable(market.state, node)",
    ),
    # -- the log
    Mutant(
        "another body under a client's id is answered with the first result",
        "rules/identity.py",
        "if binding.body != body:",
        "if not binding.body:",
    ),
    Mutant(
        "a repeat is another order where its correlation differs",
        "rules/identity.py",
        'return sha256(command.canonical().replace(member, b"", 1)).hexdigest()',
        "return sha256(command.canonical() + member).hexdigest()",
    ),
    Mutant(
        "client ids are kept a millisecond longer",
        "rules/store.py",
        "while self.expiries and self.expiries[0][0] <= self.state.log_time_ms:",
        "while self.expiries and self.expiries[0][0] < self.state.log_time_ms:",
    ),
    Mutant(
        "log time goes back",
        "rules/log_time.py",
        "market.state.log_time_ms = max(market.state.log_time_ms, ts_ms)",
        "market.state.log_time_ms = ts_ms",
    ),
    Mutant(
        "a batch may skip numbers",
        "rules/privileged.py",
        'require(batch.number == last + 1, "number_gap")',
        'require(batch.number > last, "number_gap")',
    ),
    Mutant(
        "any signature is good",
        "rules/privileged.py",
        'require(is_signed(batch, key), "bad_signature")',
        'require(key is not None, "bad_signature")',
    ),
    Mutant(
        "every source may do everything",
        "rules/privileged.py",
        'require(command.type in PERMISSIONS[batch.source], "not_permitted")',
        'require(batch.source in PERMISSIONS, "not_permitted")',
    ),
    Mutant(
        "a later index wins",
        "rules/delivery.py",
        'require(known is None or known.index_micros is None, "already_fixed")',
        'require(known is None or known.index_micros != 1, "already_fixed")',
    ),
    Mutant(
        "the chain forgets the link before",
        "rules/engine.py",
        'self.state.link = sha256(self.link + b"".join(sealed)).hexdigest()',
        'self.state.link = sha256(b"".join(sealed)).hexdigest()',
    ),
    Mutant(
        "a damaged snapshot is loaded",
        "rules/snapshot.py",
        "if sha256(memoryview(raw)[header.end() :]).hexdigest().encode() != header[2]:",
        "if not header[2]:",
    ),
    # -- auctions
    Mutant(
        "an auction's price ignores the surplus",
        "rules/auction_price.py",
        "rank = (-min(demand, supply), abs(demand - supply), distance, price)",
        "rank = (-min(demand, supply), distance, price)",
    ),
    Mutant(
        "an auction's last winner gets all he asked for",
        "rules/uncrossing.py",
        "chosen.append((order, min(qty, order.left)))",
        "chosen.append((order, order.left))",
    ),
)
