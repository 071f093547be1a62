"""The commands `node show|recall|maintenance`: what an operator's account declares of its nodes, by its API key."""

from datetime import datetime
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.bills import time_of
from clients.cli.output import CommandError, show
from clients.cli.session import Signer, public, signed
from clients.http import result_of

Moment = Annotated[str, Parameter(help="A time with its time zone, such as 2026-11-22T13:00Z.")]


def show_(node: str, *, json: bool = False) -> None:
    """Show what everyone may know of NODE: level and state, GPUs, maintenance to come, and what is on its record."""
    with public("delivery", None) as client:
        found = result_of(client.get(f"/v1/nodes/{node}"))
        found["reputation"] = result_of(client.get(f"/v1/nodes/{node}/reputation"))
    windows = [f"{time_of(each['start_ms'])} to {time_of(each['end_ms'])}" for each in found["maintenance"]]
    holds = [f"{each['reason']}: {each['detail']}" for each in found.get("level_held", ())]
    attestation = (found.get("attestation") or {}).get("state")
    words = {"maintenance": windows, "level_held": holds, "attestation": attestation}
    show(found if json else found | words, json=json)


def recall(
    node: str,
    position_id: int,
    *,
    gpu: Annotated[tuple[str, ...], Parameter(help="UUID of a GPU, repeatable; default: all.")] = (),
    at: Annotated[
        str | None, Parameter(help="Start time; default: the earliest that the notice period allows.")
    ] = None,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Take GPUs of interruptible POSITION_ID on NODE back; the key needs the scope operate."""
    form = {"position_id": position_id, "gpus": list(gpu), "from_ms": None if at is None else moment_ms(at)}
    with signed("delivery", signer) as client:
        found = result_of(client.post(f"/v1/nodes/{node}/recalls", json=form))
    show(found if json else found | {"from_ms": time_of(found["from_ms"])}, json=json)


def maintenance(node: str, start: Moment, end: Moment, *, signer: Signer | None = None, json: bool = False) -> None:
    """Declare that what is sold from now on is not served by NODE from START to END, at nobody's expense."""
    window = {"start_ms": moment_ms(start), "end_ms": moment_ms(end)}
    with signed("delivery", signer) as client:
        found = result_of(client.post(f"/v1/nodes/{node}/maintenance", json=window))
    times = {name: time_of(found[name]) for name in ("start_ms", "end_ms")}
    show(found if json else found | times, json=json)


def moment_ms(text: str) -> int:
    """Read a moment. Raise CommandError for one that is none, or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text} is not a time such as 2026-11-22T13:00Z") from None
    if moment.tzinfo is None:
        raise CommandError(f"{text} has no time zone; Z is UTC")
    return int(moment.timestamp() * 1000)


def add_to(app: App) -> None:
    group = App(name="node", help="Declare recalls and maintenance of an operator's nodes.")
    group.command(show_, name="show")
    for command in (recall, maintenance):
        group.command(command)
    app.command(group)
