"""The group `sale`: used hardware from the offer to the money, a command for each step of seller, buyer and arbiter."""

from typing import Any, Literal
from uuid import uuid4

from cyclopts import App

from clients.cli.bills import time_of
from clients.cli.listings import listings
from clients.cli.output import show
from clients.cli.session import Signer, columns, signed
from clients.http import result_of

COLUMNS = columns(
    "listing_id",
    "state",
    "kind",
    "grade",
    "hub",
    "condition",
    "price",
    "currency",
    "simulated",
    "seller",
    "buyer",
)
NEXT = {
    "refund": "the buyer has his money back",
    "received": "the goods count as received",
    "release": "the seller is paid",
    "arbiter": "a person of the venue looks at it",
}


def offer(
    title: str,
    price: str,
    inspection_id: str,
    *,
    hub: str,
    currency: str = "CNY",
    kind: Literal["module", "pcie_card", "baseboard", "server", "rack_lot"] = "module",
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """List hardware for PRICE with the inspection that `agent inspect` deposited; the key needs the scope sell_hw."""
    form = {"kind": kind, "title": title, "hub": hub, "price": price, "currency": currency}
    take("", form | {"inspection_id": inspection_id}, signer, json)


def see(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Show a sale with its history and its deadline, as its seller, its buyer and an arbiter see it."""
    with signed("listings", signer) as client:
        show_listing(result_of(client.get(f"/v1/sales/{listing_id}")), json)


def buy(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Take a listing at its price; the money goes into escrow."""
    take(f"/{listing_id}/buy", {}, signer, json)


def cancel(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Take the purchase back, as the buyer, before the goods are shipped: the money returns."""
    take(f"/{listing_id}/cancel", {}, signer, json)


def ship(listing_id: str, carrier: str, tracking: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Say, as the seller, that the goods are on their way."""
    take(f"/{listing_id}/ship", {"carrier": carrier, "tracking": tracking}, signer, json)


def receive(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Say, as the buyer, that the goods are there; the time to look at them begins."""
    take(f"/{listing_id}/receive", {}, signer, json)


def inspect(listing_id: str, inspection_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Compare what your own machine's agent deposited (INSPECTION_ID) with the listing, as the buyer."""
    with signed("listings", signer) as client:
        form, headers = {"inspection_id": inspection_id}, {"Idempotency-Key": uuid4().hex}
        sale = result_of(client.post(f"/v1/listings/{listing_id}/inspection", json=form, headers=headers))
    show(sale if json else sale["difference"]["findings"] or "the goods are as listed", json=json)


def accept(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Accept the goods, as the buyer: the seller is paid."""
    take(f"/{listing_id}/accept", {}, signer, json)


def reject(listing_id: str, reason: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Refuse the goods, as the buyer, and say what is wrong; they are to be sent back."""
    take(f"/{listing_id}/reject", {"reason": reason}, signer, json)


def send_back(
    listing_id: str, carrier: str, tracking: str, *, signer: Signer | None = None, json: bool = False
) -> None:
    """Say, as the buyer, that rejected goods are on their way back."""
    take(f"/{listing_id}/return", {"carrier": carrier, "tracking": tracking}, signer, json)


def returned(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Say, as the seller, that rejected goods are back: the buyer is refunded."""
    take(f"/{listing_id}/returned", {}, signer, json)


def dispute(listing_id: str, reason: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Call the arbiter, as seller or buyer, and say what is wrong."""
    take(f"/{listing_id}/dispute", {"reason": reason}, signer, json)


def decide(
    listing_id: str,
    outcome: Literal["release", "refund"],
    reason: str,
    *,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Decide a dispute, as an arbiter: pay the seller, or refund the buyer; the key needs the scope arbiter."""
    take(f"/{listing_id}/decide", {"outcome": outcome, "reason": reason}, signer, json)


def withdraw(listing_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Take an offer off the board; its GPUs may be rented out again."""
    take(f"/{listing_id}/withdraw", {}, signer, json)


def take(path: str, form: dict[str, str], signer: Signer | None, json: bool) -> None:
    """Takes one step, once however often the request is sent, and prints the listing as it stands."""
    with signed("listings", signer) as client:
        headers = {"Idempotency-Key": uuid4().hex}
        show_listing(result_of(client.post(f"/v1/listings{path}", json=form, headers=headers)), json)


def show_listing(listing: dict[str, Any], json: bool) -> None:
    if json:
        show(listing, json=True)
        return
    fields = COLUMNS(listing) | {"title": listing["title"]}
    if listing["default_outcome"]:
        fields |= {"deadline": time_of(listing["deadline_ms"]), "then": NEXT[listing["default_outcome"]]}
    fields |= {"note": listing["note"]} if listing["note"] else {}
    show(fields, json=False)
    if listing["history"]:
        print()
        show(list(map(step_row, listing["history"])), json=False)


def step_row(step: dict[str, Any]) -> dict[str, Any]:
    """A step of a sale in a line."""
    row = {"time": time_of(step["ts_ms"]), "step": step["step"], "by": step["by"]}
    return row | {"state": step["state"], "words": step["words"]}


def add_to(app: App) -> None:
    sale = App(name="sale", help="Sell and buy used hardware; the money waits in escrow.")
    for command in (offer, buy, cancel, ship, receive, inspect, accept, reject, returned, dispute, decide, withdraw):
        sale.command(command)
    sale.command(see, name=("see", "show"))
    sale.command(send_back, name="return")
    sale.command(listings, name="list")
    app.command(sale)
