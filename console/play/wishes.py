"""What a played trader wants done, and the form in which the REST API takes it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas.money import format_micros


@dataclass(frozen=True)
class Limit:
    """An order at a price; a sell without a node offers the trader's own positions."""

    contract: str
    side: str
    qty: int
    price_micros: int
    tif: str = "GTG"
    use_vouchers: bool = False

    def form(self) -> dict[str, Any]:
        """Returns the body of POST /v1/orders."""
        return {
            "contract": self.contract,
            "side": self.side,
            "qty": self.qty,
            "price": format_micros(self.price_micros),
            "tif": self.tif,
            "use_vouchers": self.use_vouchers,
        }


@dataclass(frozen=True)
class Block:
    """The same GPUs over consecutive periods; with a `latest` start it is a flex."""

    product: str
    start_s: int
    periods: int
    qty: int
    price_micros: int
    tif: str
    latest_s: int | None = None

    def form(self) -> dict[str, Any]:
        """Returns the body of POST /v1/orders."""
        start = {"kind": "block", "start": rfc3339(self.start_s)}
        if self.latest_s is not None:
            start = {"kind": "flex", "earliest": rfc3339(self.start_s), "latest": rfc3339(self.latest_s)}
        return start | {
            "product": self.product,
            "periods": self.periods,
            "qty": self.qty,
            "limit_price": format_micros(self.price_micros),
            "tif": self.tif,
        }


@dataclass(frozen=True)
class Resell:
    """A position offered again."""

    product: str
    position_id: int
    start_s: int
    end_s: int
    qty: int
    price_micros: int

    def form(self) -> dict[str, Any]:
        """Returns the body of POST /v1/orders."""
        return {
            "kind": "resell",
            "product": self.product,
            "position_id": self.position_id,
            "from": rfc3339(self.start_s),
            "to": rfc3339(self.end_s),
            "qty": self.qty,
            "price": format_micros(self.price_micros),
        }


@dataclass(frozen=True)
class Cancel:
    """An order taken back."""

    order_id: int


Wish = Limit | Block | Resell | Cancel


def rfc3339(moment_s: int) -> str:
    """Writes a moment as the REST API takes it."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat().replace("+00:00", "Z")
