"""The demo's hardware sale: listed with the agent's inspection, bought, shipped, accepted, paid."""

from typing import Any

from clients.actors import Actor
from clients.http import ApiError, result_of
from console.demo.story import Story

PRICE_CNY = "378000.00"


def list_hardware(seller: Actor, inspection_id: str, story: Story) -> dict[str, Any]:
    """Lists two used H100s; returns the listing once the engine has taken the GPUs off the rental market."""
    form = {
        "kind": "module",
        "title": "2 × H100 SXM5 80 GB, 14 months in service",
        "hub": "CNS",
        "price": PRICE_CNY,
        "currency": "CNY",
        "inspection_id": inspection_id,
    }
    listing_id = story.wait_for("the inspection to be known to listings", lambda: _try_listing(seller, form), 20)
    return wait_state(seller, listing_id, "LISTED", story)


def _try_listing(seller: Actor, form: dict[str, str]) -> str | None:
    try:
        return result_of(seller.listings.post("/v1/listings", json=form))["listing_id"]
    except ApiError as refusal:
        if refusal.code != "bad_inspection":
            raise
        return None


def step(actor: Actor, listing_id: str, name: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    """Takes one step of the sale."""
    return result_of(actor.listings.post(f"/v1/listings/{listing_id}/{name}", json=form or {}))


def wait_state(actor: Actor, listing_id: str, state: str, story: Story) -> dict[str, Any]:
    """Waits until the listing is in a state, as one of its parties sees it."""

    def reached() -> dict[str, Any] | None:
        sale = result_of(actor.listings.get(f"/v1/sales/{listing_id}"))
        return sale if sale["state"] == state else None

    return story.wait_for(f"the listing to be {state}", reached, 20)
