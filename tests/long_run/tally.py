"""What several long runs of one seed have found together, in a file: the next run goes on where the last one ended."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

COUNTS = ("judged", "wrong", "outages", "skipped")


@dataclass
class Tally:
    """Counts of all runs so far, and `next_plan`, the number of the first plan that none of them has played."""

    seed: int
    next_plan: int = 0
    judged: int = 0
    wrong: int = 0
    outages: int = 0
    skipped: int = 0
    accidents: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, path: Path) -> "Tally | None":
        """Reads what `save` wrote; None where nothing was written yet."""
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        return cls(**(found | {"accidents": Counter(found["accidents"])}))

    def save(self, path: Path) -> None:
        """Writes the counts, in one step."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(json.dumps(vars(self), indent=1, sort_keys=True) + "\n")
        unfinished.replace(path)

    def plus(self, other: "Tally") -> "Tally":
        """Returns the counts of both; `other` is the later run. Raises ValueError for one of another seed."""
        if other.seed != self.seed:
            raise ValueError(f"runs of seeds {self.seed} and {other.seed} do not add up")
        counts = {
            name: getattr(self, name) + getattr(other, name) for name in ("judged", "wrong", "outages", "skipped")
        }
        return Tally(self.seed, other.next_plan, **counts, accidents=self.accidents + other.accidents)

    def __str__(self) -> str:
        accidents = ", ".join(f"{count} {kind}" for kind, count in sorted(self.accidents.items()))
        return (
            f"{self.judged} leases judged, {self.wrong} wrong; {self.outages} outages; "
            f"{self.skipped} rounds skipped; leases with {accidents or 'no accident'}"
        )
