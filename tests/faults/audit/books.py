"""The books: replayed from the command log, added up anew, and compared between engine and ledger."""

from clients.actors import Actor
from clients.http import ApiError, result_of
from console.audit import trial_balance_at
from console.demo.checks import replay, run_checks


def check_books(admin: Actor, environment: dict[str, str]) -> list[str]:
    """The command log replays to the same bytes; debits equal credits, also added up anew; engine and ledger agree."""
    replayed = replay(environment)
    try:
        trial = trial_balance_at(admin, replayed["seq"])
        audited = result_of(admin.ledger.get("/v1/ledger/audit"))
        faults = [f"{each.name}: {each.figures}" for each in run_checks(admin, replayed, trial) if not each.held]
    except ApiError as refusal:
        return [f"the ledger cannot be asked: {refusal}"]
    wrong = audited["differing_accounts"] or audited["mismatch"] or trial["seq"] < replayed["seq"]
    return faults + ([f"the ledger's own audit, the engine at {replayed['seq']}: {audited}"] if wrong else [])
