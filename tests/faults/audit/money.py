"""Money: every posting follows from the one before, nothing is negative, payments are credited once."""

from collections import Counter

from schemas.events import Credited, Debited, ProgrammeFunded
from schemas.money import format_micros
from tests.faults.audit.log import EventLog
from tests.faults.load.payers import Payer


def check_postings(log: EventLog) -> list[str]:
    """Adds up every posting: balances as stated, never below zero, deltas that cancel out unless money came or went."""
    faults, balances = [], {}
    for event in log.events:
        sums: Counter[str] = Counter()
        for posting in getattr(event, "postings", ()):
            key = (posting.account, posting.asset)
            available, held = balances.get(key, (0, 0))
            balances[key] = available + posting.available_delta, held + posting.held_delta
            sums[posting.asset] += posting.available_delta + posting.held_delta
            if balances[key] != (posting.available, posting.held) or min(balances[key]) < 0:
                faults.append(f"seq {event.seq}: {key} has {balances[key]}, the event says {posting}")
        if any(sums.values()) and not isinstance(event, Credited | Debited | ProgrammeFunded):
            faults.append(f"seq {event.seq}: {event.type} makes or destroys {dict(sums)}")
    return faults


def check_payments(log: EventLog, payer: Payer) -> list[str]:
    """Each payment asked for is in the log once, with its amount, if it was not refused; and no other."""
    faults = list(payer.contradictions)
    moved = [event for event in log.events if isinstance(event, Credited | Debited) and event.account == payer.account]
    times = Counter(event.transfer_id for event in moved)
    faults += [f"{transfer} was paid {count} times" for transfer, count in times.items() if count > 1]
    amounts = {event.transfer_id: format_micros(event.amount_micros) for event in moved}
    for key, answer in payer.posted.items():
        in_log = amounts.pop(answer["transfer_id"], None)
        if in_log is None or float(in_log) != float(payer.asked[key][1]):
            faults.append(f"payment {key} of {payer.asked[key]} was acknowledged, the log has {in_log}")
    return faults + [f"{transfer} was paid, and to nobody's knowledge" for transfer in amounts]
