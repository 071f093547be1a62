"""What everybody had been told when a backup was made: what came after it is what putting it back gives up."""

from copy import deepcopy
from dataclasses import dataclass

from tests.faults.audit.log import EventLog
from tests.faults.audit.orders import told_by
from tests.faults.audit.reports import last_taken
from tests.faults.world import World

# What each party has noted of the exchange; what it asked for stays, so that no name is given twice.
NOTED = {
    "traders": ("notes", "_seen"),
    "payer": ("posted", "refused"),
    "key_maker": ("made", "revoked"),
    "seller": ("steps",),
    "feed": ("trade_ids", "_trades_seq"),
}


@dataclass
class Mark:
    """Everybody's notes at one moment, and the last report of each site that was acknowledged."""

    notes: list[dict[str, object]]
    taken: dict[str, int]

    @classmethod
    def of(cls, world: World) -> "Mark":
        """Takes them down: what is acknowledged now must be in a backup that begins now."""
        notes = [{name: deepcopy(getattr(party, name)) for name in names} for party, names in _parties(world)]
        return cls(notes, {site.label: last_taken(site) for site in world.agents})

    def give_up(self, world: World) -> dict[str, list[str]]:
        """Returns by kind what was acknowledged since, and makes everybody forget it; contradictions are kept.

        A running exchange's backup may have some of it, so nothing is said of keys that were revoked since.
        """
        names = {kind: sorted(now - before) for kind, (now, before) in self._compared(world).items()}
        names["reports"] = [f"{label} {seq}" for label, seqs in self.reports_lost(world).items() for seq in seqs]
        for (party, _), kept in zip(_parties(world), self.notes, strict=True):
            if "notes" in kept:
                kept["notes"].contradictions, kept["notes"].forms = party.notes.contradictions, party.notes.forms
            if "made" in kept:
                kept["made"] = {key_id: key for key_id, key in kept["made"].items() if key_id in party.made}
            vars(party).update(deepcopy(kept))
        world.feed.books = {}
        return names

    def reports_lost(self, world: World) -> dict[str, range]:
        """Returns the numbers of the reports that were acknowledged since."""
        return {site.label: range(self.taken[site.label] + 1, last_taken(site) + 1) for site in world.agents}

    def _compared(self, world: World) -> dict[str, tuple[set[str], set[str]]]:
        now = [{name: getattr(party, name) for name in names} for party, names in _parties(world)]
        return {kind: (told(now), told(self.notes)) for kind, told in TOLD.items()}


def still_there(log: EventLog, given_up: dict[str, list[str]]) -> list[str]:
    """Returns what was given up and stands in the log all the same: then the backup was not what it says."""
    _, ids, _ = told_by(log)
    known = {client_order_id for _, client_order_id in ids}
    return [f"{each} was acknowledged after the backup, and is there" for each in given_up["orders"] if each in known]


def _parties(world: World) -> list[tuple[object, tuple[str, ...]]]:
    traders = [(trader, NOTED["traders"]) for trader in world.traders]
    return traders + [(getattr(world, name), names) for name, names in NOTED.items() if name != "traders"]


TOLD = {
    "orders": lambda notes: {each for own in notes for each in getattr(own.get("notes"), "orders", ())},
    "cancels": lambda notes: {str(each) for own in notes for each in getattr(own.get("notes"), "canceled", ())},
    "payments": lambda notes: {each for own in notes for each in own.get("posted", ())},
    "keys": lambda notes: {each for own in notes for each in (*own.get("made", ()), *own.get("revoked", ()))},
    "revocations": lambda notes: {each for own in notes for each in own.get("revoked", ())},
    "sales": lambda notes: {f"{lot} {step}" for own in notes for lot, s in own.get("steps", {}).items() for step in s},
}
