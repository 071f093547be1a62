"""Commands on orders: `order place`, `block`, `flex`, `resell`, `capacity`, and what changes, ends and lists them."""

from itertools import islice
from json import loads
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show, show_reply
from clients.cli.session import Signer, columns, gateway
from clients.http import pages, result_of

Stp = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement_and_cancel"]
LIST_COLUMNS = columns(
    "order_id", "client_order_id", "kind", "contract", "side", "qty", "price", "status", "reason", "filled_qty"
)
PLACED_COLUMNS = columns(
    "order_id", "client_order_id", "status", "reason", "side", "qty", "price", "filled_qty", "remaining_qty"
)


def place(
    contract: str,
    side: Literal["buy", "sell"],
    qty: int,
    *,
    price: str | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "GTD", "IOC", "FOK"] | None = None,
    expires: str | None = None,
    display_qty: int | None = None,
    min_qty: int | None = None,
    vouchers: bool = False,
    stp: Stp = "cancel_newest",
    post_only: bool = False,
    node: str | None = None,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Place a limit order for QTY GPUs of CONTRACT, or with --max-cost and no --price a market order.

    With --expires (2026-11-22T13:00:00Z) it is GTD. The book shows --display-qty of it at a time; at least --min-qty
    must trade at once. With --vouchers it draws on the account's vouchers, and is IOC or FOK.
    Exits with 0 when the engine took it, with 75 when its answer is not known: the order may live.
    """
    form = {
        "kind": "limit" if price is not None else "market",
        "contract": contract,
        "side": side,
        "qty": qty,
        "price": price,
        "max_cost": max_cost,
        "tif": tif or ("GTD" if expires else "IOC" if vouchers else "GTG"),
        "expires": expires,
        "display_qty": display_qty,
        "min_qty": min_qty,
        "use_vouchers": vouchers,
        "stp": stp,
        "post_only": post_only,
        "node": node,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def block(
    product: str,
    start: str,
    periods: int,
    qty: int,
    limit_price: str,
    *,
    min_qty: int | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "IOC", "FOK"] | None = None,
    vouchers: bool = False,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Bid for QTY GPUs of PRODUCT, each on one node over PERIODS periods from START (2026-11-22T13:00:00Z)."""
    form = {
        "kind": "block",
        "product": product,
        "start": start,
        "periods": periods,
        "qty": qty,
        "min_qty": min_qty,
        "limit_price": limit_price,
        "max_cost": max_cost,
        "tif": tif or ("IOC" if vouchers else "GTG"),
        "use_vouchers": vouchers,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def flex(
    product: str,
    earliest: str,
    latest: str,
    periods: int,
    qty: int,
    limit_price: str,
    *,
    min_qty: int | None = None,
    max_cost: str | None = None,
    tif: Literal["GTG", "IOC", "FOK"] | None = None,
    vouchers: bool = False,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Bid for a block that may start from EARLIEST to LATEST, wherever it is cheapest."""
    form = {
        "kind": "flex",
        "product": product,
        "earliest": earliest,
        "latest": latest,
        "periods": periods,
        "qty": qty,
        "min_qty": min_qty,
        "limit_price": limit_price,
        "max_cost": max_cost,
        "tif": tif or ("IOC" if vouchers else "GTG"),
        "use_vouchers": vouchers,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def resell(
    product: str,
    start: str,
    end: str,
    qty: int,
    price: str,
    *,
    position_id: int | None = None,
    block_id: int | None = None,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Offer QTY GPUs of one's own positions again, in every period from START to END."""
    form = {
        "kind": "resell",
        "product": product,
        "position_id": position_id,
        "block_id": block_id,
        "from": start,
        "to": end,
        "qty": qty,
        "price": price,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def capacity(
    product: str,
    node: str,
    gpus: int,
    start: str,
    end: str,
    *,
    floor: str | None = None,
    floor_curve: str | None = None,
    ttl_s: int | None = None,
    split: bool = False,
    client_order_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Offer GPUS of NODE in every period from START to END, at --floor or the 24 prices of --floor-curve (commas)."""
    form = {
        "kind": "capacity",
        "product": product,
        "node": node,
        "gpus": gpus,
        "from": start,
        "to": end,
        "floor_price": floor,
        "floor_curve": floor_curve.split(",") if floor_curve else None,
        "ttl_s": ttl_s,
        "split": split,
        "client_order_id": client_order_id,
    }
    return send(form, signer, json)


def reprice(
    order_id: int,
    *,
    floor: str | None = None,
    floor_curve: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Give all asks of a capacity order other prices: --floor, or the 24 of --floor-curve (commas)."""
    curve = floor_curve.split(",") if floor_curve else None
    form = {"order_id": order_id, "floor_price": floor, "floor_curve": curve}
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/capacity/reprice", json=form))
    return show_reply(reply, lambda answer: PLACED_COLUMNS(answer["order"]), json=json)


def withdraw(order_id: int, start: str, end: str, *, signer: Signer | None = None, json: bool = False) -> int:
    """Cancel the asks of a capacity order, or of a resale, that deliver from START to END."""
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/capacity/withdraw", json={"order_id": order_id, "from": start, "to": end}))
    return show_reply(reply, lambda answer: {"canceled": answer["canceled"]}, json=json)


def send(form: dict, signer: Signer | None, json: bool) -> int:
    """Posts the form and prints the answer."""
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/orders", json=form))
    return show_reply(reply, lambda answer: PLACED_COLUMNS(answer["order"]), json=json)


def replace(
    order_id: int | None = None,
    *,
    client_order_id: str | None = None,
    qty: int | None = None,
    price: str | None = None,
    expires: str | None = None,
    replace_id: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Give a resting order other terms: its whole quantity, its price, its end. It keeps its ids.

    Exits with 0 when the engine did it, with 75 when its answer is not known.
    """
    if (order_id is None) == (client_order_id is None):
        raise CommandError("name one order, by its id or by its client order id")
    form = {"qty": qty, "price": price, "expires": expires, "replace_id": replace_id}
    path = "/v1/orders" if order_id is None else f"/v1/orders/{order_id}"
    named = {} if client_order_id is None else {"client_order_id": client_order_id}
    with gateway(signer) as client:
        reply = result_of(client.patch(path, json=form, params=named))

    def shown(answer: dict) -> dict:
        return PLACED_COLUMNS(answer["order"]) | {"priority_kept": answer["priority_kept"]}

    return show_reply(reply, shown, json=json)


def batch(file: Path, *, signer: Signer | None = None, json: bool = False) -> int:
    """Send the members of FILE, a JSON list as in POST /v1/orders/batch, in one record of the log.

    Exits with 0 when all were carried out, with 1 when some were refused, with 75 when the answer is not known.
    """
    try:
        members = loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}") from error
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/orders/batch", json={"members": members}))
    status = show_reply(reply, lambda answer: list(map(member_row, answer["results"])), json=json)
    return status or int(any(result["problem"] for result in reply["results"]))


def member_row(result: dict) -> dict:
    """A member's result as a line of a table."""
    orders = result["orders"] or ([result["order"]] if result["order"] else [])
    return {
        "op": result["op"],
        "status": result["status"],
        "orders": " ".join(str(order["order_id"]) for order in orders),
        "standing": " ".join(order["status"] for order in orders),
        "refused": result["problem"]["code"] if result["problem"] else "",
    }


def cancel_all_after(timeout_s: int, *, session: str = "rest", signer: Signer | None = None, json: bool = False) -> int:
    """Cancel everything of the account unless this comes again within TIMEOUT_S seconds; 0 disarms."""
    with gateway(signer) as client:
        reply = result_of(client.post("/v1/cancel-all-after", json={"timeout_s": timeout_s, "session": session}))
    return show_reply(reply, lambda answer: {name: answer[name] or "" for name in ("session", "due")}, json=json)


def protect(
    product: str,
    qty: int | None = None,
    window_ms: int | None = None,
    *,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Pull all the account's quotes in PRODUCT once QTY of their GPUs have traded within WINDOW_MS; without: never."""
    form = {"product": product, "qty": qty, "window_ms": window_ms}
    with gateway(signer) as client:
        reply = result_of(client.put("/v1/protection", json=form))
    return show_reply(reply, lambda answer: {name: answer[name] or "" for name in form}, json=json)


def cancel(
    order_id: int | None = None,
    *,
    client_order_id: str | None = None,
    all: bool = False,
    product: str | None = None,
    contract: str | None = None,
    side: Literal["buy", "sell"] | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Cancel one order by our id or by the client's, or with --all every order that fits the filters.

    --from and --to (2026-11-22T13:00:00Z) bound the delivery starts, the second one excluded.
    """
    if [order_id is not None, client_order_id is not None, all].count(True) != 1:
        raise CommandError("name one order, or pass --all")
    with gateway(signer) as client:
        if all:
            filters = {"product": product, "contract": contract, "side": side, "from": from_, "to": to}
            response = client.post("/v1/orders/cancel-all", json=filters)
        elif order_id is not None:
            response = client.delete(f"/v1/orders/{order_id}")
        else:
            response = client.delete("/v1/orders", params={"client_order_id": client_order_id})
        reply = result_of(response)
    return show_reply(reply, lambda answer: list(map(LIST_COLUMNS, answer["orders"])), json=json)


def list_orders(
    *,
    status: Literal["open", "new", "partially_filled", "filled", "canceled", "expired"] | None = None,
    product: str | None = None,
    contract: str | None = None,
    parent_id: int | None = None,
    limit: int = 50,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """List the account's orders, newest first."""
    with gateway(signer) as client:
        filters = {"status": status, "product": product, "contract": contract, "parent_id": parent_id}
        orders = list(islice(pages(client, "/v1/orders", **filters), limit))
    show(orders if json else list(map(LIST_COLUMNS, orders)), json=json)


def add_to(app: App) -> None:
    orders = App(name="order", help="Place, cancel and list orders.")
    orders.command(place)
    orders.command(block)
    orders.command(flex)
    orders.command(resell)
    orders.command(capacity)
    orders.command(reprice)
    orders.command(withdraw)
    orders.command(replace)
    orders.command(batch)
    orders.command(cancel)
    orders.command(cancel_all_after)
    orders.command(protect)
    orders.command(list_orders, name="list")
    app.command(orders)
