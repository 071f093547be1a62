"""Commands of an operator of many nodes: `fleet status|waves|render`."""

import time
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, gateway, public
from clients.fleet.table import SOLD, Trade, row_of, sums_of, trades_of
from clients.fleet.waves import waves_of
from clients.http import pages, result_of
from schemas.ids import contract_start_s

PAGE = 500
DAY_S = 86_400
Days = Annotated[
    int, Parameter(help="Show the earnings of this many days.", validator=validators.Number(gte=0, lte=366))
]
Percent = Annotated[
    int, Parameter(help="Percentage of the nodes in each wave.", validator=validators.Number(gte=1, lte=100))
]


def status(
    *,
    days: Days = 7,
    troubles: Annotated[bool, Parameter(help="Show only nodes with a problem.")] = False,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Show the nodes of the account in one table: state, level, what is offered and sold ahead, earned, in trouble."""
    now_s = int(time.time())
    nodes, trades = _read(signer, now_s - days * DAY_S)
    rows = [row_of(node, trades.get(node["node"], Trade()), now_s * 1000) for node in nodes]
    sums = sums_of(rows, trades.values())
    shown = [row for row in rows if row["trouble"]] if troubles else rows
    if json:
        show({"nodes": shown, "sums": sums}, json=True)
        return
    show(shown, json=False)
    print(", ".join(f"{value or 0} {name}" for name, value in sums.items()))


def waves(
    *,
    percent: Percent = 10,
    quiet_s: Annotated[int, Parameter(help="Skip nodes whose next sold hour begins sooner than this.")] = 900,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Say in which order to restart the account's agents: one first, then waves; ask again after each, and look."""
    now_s = int(time.time())
    nodes, trades = _read(signer, now_s)
    advice = waves_of(nodes, trades, now_s, percent, quiet_s)
    if json:
        show(advice, json=True)
        return
    for number, names in enumerate(advice["waves"], 1):
        print(f"wave {number}: {' '.join(names)}")
    for name, why in advice["later"].items():
        print(f"later: {name}: {why}")
    print("restart a wave, wait until `hourbook fleet status` shows no new trouble, go on; ask again after an hour")


def render(
    file: Path,
    *,
    into: Annotated[Path, Parameter(help="Folder for NODE/policy.toml.")],
    dry_run: Annotated[bool, Parameter(help="Check, and say what would change.")] = False,
    json: bool = False,
) -> None:
    """Make every node's policy.toml from FILE, for what distributes files: all of them, or with one fault none."""
    from clients.fleet import rendering

    policies = rendering.policies_of(file)
    rendering.check(policies)
    done = rendering.changes(policies, into) if dry_run else rendering.write(policies, into)
    verb = "would be written" if dry_run else "written"
    words = {verb: len(done["written"]), "unchanged": len(done["unchanged"]), "left over": len(done["left_over"])}
    show(done if json else words, json=json)


def _read(signer: Signer | None, since_s: int) -> tuple[list[dict[str, Any]], dict[str, Trade]]:
    """Reads the account's nodes, its open capacity orders, and its positions back to a moment."""
    with gateway(signer) as client:
        keys = result_of(client.get("/v1/keys"))["items"]
        if not keys:
            raise CommandError("cannot tell the key's account: the gateway does not list the key")
        account = keys[0]["account"]
        orders = list(pages(client, "/v1/orders", status="open", side="sell", limit=PAGE))
        newest = pages(client, "/v1/positions", role="operator", limit=PAGE)
        positions = list(_since(newest, since_s))
        seen = {position["position_id"] for position in positions}
        for state in sorted(SOLD):  # hours far ahead may have been sold long ago
            older = pages(client, "/v1/positions", role="operator", state=state, limit=PAGE)
            positions += [position for position in older if position["position_id"] not in seen]
    with public("delivery", None) as client:
        nodes = list(pages(client, "/v1/nodes", account=account))
    return nodes, trades_of(orders, positions, since_s)


def _since(positions: Iterable[dict[str, Any]], since_s: int) -> Iterable[dict[str, Any]]:
    """Takes positions, the last opened first, until they were opened so long ago that their hour is before a moment."""
    horizon_s = 14 * DAY_S
    return takewhile(lambda position: contract_start_s(position["contract"]) >= since_s - horizon_s, positions)


def add_to(app: App) -> None:
    group = App(name="fleet", help="All nodes of an operator's account at once.")
    for command in (status, waves, render):
        group.command(command)
    app.command(group)
