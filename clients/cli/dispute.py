"""The commands `dispute open|list|show|withdraw|decide` and `dispute end-block`: what a party or an arbiter does."""

from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter
from pydantic import ValidationError

from clients.cli.bills import time_of
from clients.cli.output import CommandError, show
from clients.cli.session import Signer, columns, signed
from clients.http import result_of
from schemas.complaints import in_words
from schemas.disputes import EVIDENCE_CHARACTERS_MAX, ArbiterInputs, DisputeReason

DISPUTE_COLUMNS = columns(
    "dispute_id",
    "position_id",
    "contract",
    "opened_by",
    "reason",
    "state",
    "decided_by",
    "outcome",
    "revision",
    "simulated",
)


def open_(
    position_id: int,
    reason: DisputeReason,
    *,
    evidence: str = "",
    evidence_file: Path | None = None,
    idempotency_key: Annotated[
        str | None, Parameter(help="Repeating a request with the same key opens nothing.")
    ] = None,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Dispute POSITION_ID, which is settled and not final: rules look at once, a person where they find nothing."""
    if evidence_file is not None:
        try:
            evidence = evidence_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read {evidence_file} as text: {error}") from None
    if len(evidence) > EVIDENCE_CHARACTERS_MAX:
        raise CommandError(f"evidence has {len(evidence)} characters, at most {EVIDENCE_CHARACTERS_MAX} are accepted")
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    form = {"reason": reason, "evidence": evidence}
    with signed("delivery", signer) as client:
        found = result_of(client.post(f"/v1/positions/{position_id}/disputes", json=form, headers=headers))
    show(found if json else shown(found), json=json)


def list_(*, state: str | None = None, limit: int = 50, signer: Signer | None = None, json: bool = False) -> None:
    """List the account's disputes, newest first; an arbiter's key lists everybody's."""
    params = {"limit": limit} | ({"state": state} if state else {})
    with signed("delivery", signer) as client:
        found = result_of(client.get("/v1/disputes", params=params))["items"]
    show(found if json else list(map(DISPUTE_COLUMNS, found)), json=json)


def show_(dispute_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Show one dispute with its evidence and what came of it."""
    with signed("delivery", signer) as client:
        found = result_of(client.get(f"/v1/disputes/{dispute_id}"))
    show(found if json else shown(found), json=json)


def withdraw(dispute_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Withdraw a dispute that the account opened."""
    with signed("delivery", signer) as client:
        found = result_of(client.post(f"/v1/disputes/{dispute_id}/withdraw"))
    show(found if json else shown(found), json=json)


def decide(dispute_id: str, inputs: Path, *, reason: str, signer: Signer | None = None, json: bool = False) -> None:
    """Decide a dispute (scope `arbiter`) by the meter's inputs in the JSON file INPUTS, never by an amount: access_ms,
    released_ms, excuses, witnesses, recalls, differences, disproven.
    """
    try:
        given = ArbiterInputs.model_validate_json(inputs.read_bytes())
    except OSError as error:
        raise CommandError(f"cannot read {inputs}: {error.strerror}") from None
    except ValidationError as error:
        raise CommandError(f"{inputs} does not give the meter's inputs: {in_words(error.errors())}") from None
    form = {"inputs": given.model_dump(mode="json"), "reason": reason}
    with signed("delivery", signer) as client:
        found = result_of(client.post(f"/v1/disputes/{dispute_id}/decision", json=form))
    show(found if json else shown(found), json=json)


def end_block(block_id: int, *, signer: Signer | None = None, json: bool = False) -> None:
    """End what is left of BLOCK_ID after a long outage: the hours whose gate is open cost nothing."""
    with signed("delivery", signer) as client:
        show(result_of(client.post(f"/v1/blocks/{block_id}/end")), json=json)


def shown(dispute: dict) -> dict:
    """A dispute as a person reads it."""
    times = {name: time_of(dispute[name]) for name in ("opened_ms", "deadline_ms", "decided_ms") if dispute[name]}
    return dispute | times


def add_to(app: App) -> None:
    group = App(name="dispute", help="Disputes of settled positions, and blocks ended after an outage.")
    for name, command in (("open", open_), ("list", list_), ("show", show_)):
        group.command(command, name=name)
    for command in (withdraw, decide, end_block):
        group.command(command)
    app.command(group)
