"""Applies events to the history: what each type of event changes, and the balances that any of them may post."""

from schemas.events import AnyEvent
from services.gateway.projections import orders, positions, rules, vouchers
from services.gateway.projections.history import History, Record
from services.kit.doubts import note_doubt

HANDLERS = orders.HANDLERS | positions.HANDLERS | rules.HANDLERS | vouchers.HANDLERS


def apply(history: History, event: AnyEvent) -> list[Record]:
    """Apply one event; return the records that it made or changed."""
    history.begin_event(event.seq)
    if handle := HANDLERS.get(event.type):
        try:
            handle(history, event)
        except Exception as error:
            note_doubt(event.seq, event.type, f"{type(error).__name__}: {error}")
    for posting in getattr(event, "postings", ()):
        history.post(posting, event.seq)
    if event.index + 1 == event.count:
        history.end_command()
    return history.touched
