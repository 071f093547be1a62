"""How events change what an account is held to: its limits, and its own protections."""

from schemas import events as ev
from schemas.replies import AccountLimitsView
from services.gateway.projections.history import History
from services.gateway.projections.records import Rule

LIMITS = AccountLimitsView.model_fields.keys() - {"seq"}


def on_account_limits_set(history: History, event: ev.AccountLimitsSet) -> None:
    history.keep_rule(Rule(event.account, "", {name: getattr(event, name) for name in sorted(LIMITS)}, event.seq))


def on_protection_set(history: History, event: ev.ProtectionSet) -> None:
    terms = {"qty": event.qty, "window_ms": event.window_ms}
    history.keep_rule(Rule(event.account, event.product, terms, event.seq))


HANDLERS = {"account_limits_set": on_account_limits_set, "protection_set": on_protection_set}
