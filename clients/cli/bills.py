"""Commands on what was traded, delivered and paid: `fills`, `receipts`, `access`, `statement`, `claims`."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from cyclopts import App

from clients.cli.output import show
from clients.cli.session import Signer, columns, gateway, signed
from clients.http import pages, result_of
from schemas.money import format_micros

FILL_COLUMNS = columns(
    "ts", "contract", "side", "role", "price", "qty", "value", "fee", "order_id", "position_id", "simulated"
)
CLAIM_COLUMNS = columns(
    "kind", "claim_id", "position_id", "role", "debtor", "creditor", "asset", "amount", "owed", "state"
)


def fills(*, contract: str | None = None, limit: int = 50, signer: Signer | None = None, json: bool = False) -> None:
    """List the account's trades, newest first."""
    with gateway(signer) as client:
        found = list(islice(pages(client, "/v1/fills", contract=contract), limit))
    show(found if json else list(map(FILL_COLUMNS, found)), json=json)


def receipts(
    position_id: int | None = None, *, limit: int = 50, signer: Signer | None = None, json: bool = False
) -> None:
    """List the account's receipts, the newest positions first, of each every revision in order; or of POSITION_ID."""
    with signed("delivery", signer) as client:
        if position_id is None:
            found = result_of(client.get("/v1/receipts", params={"limit": limit, "revisions": True}))["items"]
        else:
            found = result_of(client.get(f"/v1/receipts/{position_id}/revisions"))["items"]
    show(found if json else list(map(receipt_row, found)), json=json)


def access(position_id: int, *, signer: Signer | None = None, json: bool = False) -> None:
    """Show how to get into the node of a position that is being delivered; for its buyer alone."""
    with signed("delivery", signer) as client:
        found = result_of(client.get(f"/v1/positions/{position_id}/access"))
    show(found if json else access_lines(found), json=json)


def access_lines(found: dict[str, Any]) -> dict[str, Any]:
    """What a person needs to get in: without what this endpoint does not have, times as one reads them."""
    times = {"starts_ms": "starts", "ends_ms": "ends"}
    shown = {times.get(name, name): time_of(value) if name in times else value for name, value in found.items()}
    return {name: value for name, value in shown.items() if value not in (None, "", [], 0)}


def statement(*, asset: str | None = None, limit: int = 50, signer: Signer | None = None, json: bool = False) -> None:
    """Print the account's ledger lines, newest first: what moved, why, and on which side."""
    params = {"limit": limit} | ({"asset": asset} if asset else {})
    with signed("ledger", signer) as client:
        found = result_of(client.get("/v1/statements", params=params))["lines"]
    show(found if json else list(map(line_row, found)), json=json)


def claims(*, limit: int = 50, signer: Signer | None = None, json: bool = False) -> None:
    """List what corrections left owed by the account or to it: paid by the guarantee, or claims still to be paid."""
    with signed("ledger", signer) as client:
        found = result_of(client.get("/v1/claims", params={"limit": limit}))["items"]
    show(found if json else list(map(CLAIM_COLUMNS, found)), json=json)


def receipt_row(receipt: dict[str, Any]) -> dict[str, Any]:
    """A receipt in a line; amounts as decimal numbers."""
    row = {"position_id": receipt["position_id"], "revision": receipt["revision"], "contract": receipt["contract"]}
    row |= {"buyer": receipt["buyer"], "operator": receipt["operator"], "asset": receipt["asset"]}
    row |= {name: receipt[f"{name}_gpu_s"] for name in ("contracted", "delivered")}
    row["simulated"] = receipt.get("simulated", False)
    return row | {name: format_micros(receipt[f"{name}_micros"]) for name in ("paid", "refunded", "damages", "fee")}


def line_row(line: dict[str, Any]) -> dict[str, Any]:
    """A line of a statement: money that came is positive."""
    sign = "-" if line["side"] == "debit" else "+"
    row = {"time": time_of(line["ts_ms"]), "cause": line["cause"], "reference": line["reference"]}
    return row | {"asset": line["asset"], "bucket": line["bucket"], "amount": f"{sign}{line['amount']}"}


def time_of(ts_ms: int) -> str:
    """A moment as a person reads it, in UTC."""
    return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def add_to(app: App) -> None:
    for command in (fills, receipts, access, statement, claims):
        app.command(command)
