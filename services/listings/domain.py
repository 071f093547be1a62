"""The rules of a hardware sale: who may do what in which state, and what time makes of it."""

from dataclasses import dataclass

from schemas.listings import DefaultOutcome, ListingState


class ListingError(Exception):
    """The base of the service's refusals; `code` is what the caller sees."""

    code = "conflict"


class BadInspection(ListingError):
    """The inspection is unknown, somebody else's, too old, or of GPUs that make no lot."""

    code = "bad_inspection"


class NotListable(ListingError):
    """The goods, or what is said of them, break a rule of the board; the text says which."""

    code = "not_listable"


class WrongState(ListingError):
    """The listing is in a state in which this step cannot be taken."""

    code = "wrong_state"


class NotAParty(ListingError):
    """Only the seller, or only the buyer, may take this step."""

    code = "not_yours"


class AlreadyBought(ListingError):
    """The caller himself bought the listing before: a repeat, not a rival's purchase."""

    code = "already_bought"


@dataclass(frozen=True)
class Step:
    """One step of a sale: by whom, from which states, into which state."""

    by: str
    before: tuple[ListingState, ...]
    after: ListingState


# `engine` steps happen when the engine's event comes back, `time` steps when a deadline passes, `venue` steps when the
# seller's node may sell nothing any more; never on request.
STEPS: dict[str, Step] = {
    "locked": Step("engine", ("LOCKING",), "LISTED"),
    "lock_refused": Step("engine", ("LOCKING",), "REFUSED"),
    "buy": Step("anyone", ("LISTED",), "FUNDING"),
    "funded": Step("engine", ("FUNDING",), "FUNDED"),
    "funding_refused": Step("engine", ("FUNDING",), "LISTED"),
    "cancel": Step("buyer", ("FUNDED",), "REFUNDING"),
    "ship": Step("seller", ("FUNDED",), "SHIPPED"),
    "not_shipped": Step("time", ("FUNDED",), "REFUNDING"),
    "receive": Step("buyer", ("SHIPPED",), "INSPECTING"),
    "received_by_time": Step("time", ("SHIPPED",), "INSPECTING"),
    "accept": Step("buyer", ("INSPECTING", "DISPUTED"), "RELEASING"),
    "accepted_by_time": Step("time", ("INSPECTING",), "RELEASING"),
    "reject": Step("buyer", ("INSPECTING",), "REJECTED"),
    "return": Step("buyer", ("REJECTED",), "RETURNING"),
    "not_returned": Step("time", ("REJECTED",), "DISPUTED"),
    "returned": Step("seller", ("REJECTED", "RETURNING"), "RETURNED"),
    "return_not_confirmed": Step("time", ("RETURNING",), "DISPUTED"),
    "dispute": Step("party", ("FUNDED", "SHIPPED", "INSPECTING", "REJECTED", "RETURNING"), "DISPUTED"),
    "release": Step("arbiter", ("DISPUTED",), "RELEASING"),
    "refund": Step("arbiter", ("DISPUTED",), "REFUNDING"),
    "refunded_by_time": Step("time", ("DISPUTED",), "REFUNDING"),
    "released": Step("engine", ("RELEASING",), "RELEASED"),
    "refunded": Step("engine", ("REFUNDING", "RETURNED"), "REFUNDED"),
    "withdraw": Step("seller", ("LISTED",), "WITHDRAWING"),
    "barred": Step("venue", ("LISTED",), "WITHDRAWING"),
    "unlocked": Step("engine", ("WITHDRAWING", "REFUNDED"), "WITHDRAWN"),
}
# What happens to a listing that is in a state until its deadline, and what that is called for people.
TIMEOUTS: dict[ListingState, tuple[str, DefaultOutcome]] = {
    "FUNDED": ("not_shipped", "refund"),
    "SHIPPED": ("received_by_time", "received"),
    "INSPECTING": ("accepted_by_time", "release"),
    "REJECTED": ("not_returned", "arbiter"),
    "RETURNING": ("return_not_confirmed", "arbiter"),
    "DISPUTED": ("refunded_by_time", "refund"),
}
# What the engine is asked on entering a state; it is asked again until it answers.
ASKED_OF_ENGINE: dict[ListingState, str] = {
    "LOCKING": "lock",
    "FUNDING": "fund",
    "RELEASING": "release",
    "RETURNED": "refund",
    "REFUNDING": "refund",
    "REFUNDED": "unlock",
    "WITHDRAWING": "unlock",
}
INSPECTED_IN: tuple[ListingState, ...] = ("INSPECTING", "REJECTED", "DISPUTED")
ENDED: tuple[ListingState, ...] = ("REFUSED", "RELEASED", "WITHDRAWN")


@dataclass(frozen=True)
class Periods:
    """How long a listing may stay in a state, in milliseconds of the log's time; `engine` for the engine's answers."""

    ship: int
    receive: int
    inspect: int
    give_back: int
    confirm: int
    dispute: int
    engine: int

    def deadline_ms(self, state: ListingState, since_ms: int) -> int | None:
        """Returns when a listing that entered the state at `since_ms` leaves it by itself; None where it never does.
        [H-5]
        """
        periods = {
            "FUNDED": self.ship,
            "SHIPPED": self.receive,
            "INSPECTING": self.inspect,
            "REJECTED": self.give_back,
            "RETURNING": self.confirm,
            "DISPUTED": self.dispute,
        }
        period_ms = self.engine if state in ASKED_OF_ENGINE else periods.get(state)
        return None if period_ms is None else since_ms + period_ms


def default_outcome(state: ListingState) -> DefaultOutcome | None:
    """Returns what the deadline of a state brings; None where the engine is asked again, or nothing is due."""
    return TIMEOUTS[state][1] if state in TIMEOUTS else None


def next_state(step: str, state: ListingState) -> ListingState:
    """Returns the state after `step`. Raises WrongState where it cannot be taken."""
    rule = STEPS[step]
    if state not in rule.before:
        raise WrongState(f"cannot {step} while {state}; possible in {', '.join(rule.before)}")
    return rule.after


def check_party(step: str, account: str, seller: str, buyer: str | None) -> None:
    """Raises NotAParty unless `account` may take `step`; nobody buys from himself, or judges a sale of his own."""
    by, parties = STEPS[step].by, (seller, buyer)
    if by == "anyone" and account == seller:
        raise NotAParty("the seller cannot buy the listing")
    if by == "arbiter" and account in parties:
        raise NotAParty("an arbiter is neither the seller nor the buyer")
    allowed = {"seller": (seller,), "buyer": (buyer,), "party": parties}.get(by)
    if allowed is not None and account not in allowed:
        raise NotAParty(f"only {'a party of the sale' if by == 'party' else f'the {by}'} may {step}")


def check_inspector(account: str, buyer: str | None, state: ListingState) -> None:
    """Raises NotAParty or WrongState unless the account is the buyer, and has or had the goods before him."""
    if account != buyer:
        raise NotAParty("only the buyer may inspect what was received")
    if state not in INSPECTED_IN:
        raise WrongState(f"cannot inspect while {state}; possible in {', '.join(INSPECTED_IN)}")


def check_purchase(account: str, state: ListingState, buyer: str | None) -> None:
    """Raises AlreadyBought where the account's own purchase is what stands in the way of another."""
    if state != "LISTED" and buyer == account:
        raise AlreadyBought(f"you have bought this listing already; it is {state}")
