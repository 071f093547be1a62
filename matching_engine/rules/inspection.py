"""Live orders and positions as plain dictionaries, for people and tests to look at; both engines give the same ones."""

from matching_engine.rules.icebergs import shown
from matching_engine.rules.market import Market
from matching_engine.rules.state import Block, Order, State
from matching_engine.rules.store import rank_of

ORDER_FIELDS = (
    "id",
    "parent_id",
    "account",
    "client_order_id",
    "contract",
    "side",
    "kind",
    "price_micros",
    "qty",
    "left",
    "node",
    "hold_micros",
    "twin_id",
)
POSITION_FIELDS = (
    "id",
    "contract",
    "buyer",
    "operator",
    "node",
    "qty",
    "price_micros",
    "block_id",
    "escrow_micros",
    "bond_micros",
    "bond_left_micros",
    "gpus",
    "revision",
)
POSITION_STATES = {"OPEN": "OPEN", "LOCKED": "OPEN", "DELIVERING": "DELIVERING", "METERED": "METERED"}


def orders(state: State) -> list[dict]:
    """Every live order and block, by id. `shown` is what the book has of an order, `rank` its place in time.

    A block has no contract but `product`, `start_s` and `periods`.
    """
    live = sorted([*state.orders.values(), *state.blocks.values()], key=lambda each: each.id)
    return [describe_block(each) if isinstance(each, Block) else describe(each) for each in live]


def describe(order: Order) -> dict:
    return {name: getattr(order, name) for name in ORDER_FIELDS} | {"shown": shown(order), "rank": rank_of(order)}


def describe_block(block: Block) -> dict:
    return {
        "id": block.id,
        "parent_id": None,
        "account": block.account,
        "client_order_id": block.client_order_id,
        "contract": None,
        "side": "buy",
        "kind": "block",
        "price_micros": block.limit_price_micros,
        "qty": block.qty,
        "left": block.left,
        "node": None,
        "hold_micros": block.hold_micros,
        "twin_id": None,
        "product": block.product,
        "start_s": block.start_s,
        "latest_s": block.latest_s,
        "periods": block.periods,
    }


def positions(market: Market) -> list[dict]:
    """Every position that is not final, by id. `held_micros` is what is still held: escrow, until settled, then what
    meters differ about, and bond, and a payout that is delayed.
    """
    found = []
    for _, position in sorted(market.state.positions.items()):
        settled = position.revision > 0
        state = POSITION_STATES[market.state.contracts[position.contract].state]
        if settled:
            state = "DISPUTED" if position.disputed else "SETTLED_PROVISIONAL"
        fields = {name: getattr(position, name) for name in POSITION_FIELDS}
        held = {position.operator: position.bond_left_micros + position.payout_held_micros}
        escrow = position.held_micros if settled else position.escrow_micros
        held[position.buyer] = held.get(position.buyer, 0) + escrow
        found.append(fields | {"gpus": list(position.gpus), "state": state, "held_micros": held})
    return found
