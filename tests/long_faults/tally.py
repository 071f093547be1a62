"""What several runs of one seed have found together, in a file: the next run goes on where the last one ended."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

FAULTS_KEPT = 200


@dataclass
class Tally:
    """Counts of all rounds so far. `next_round` is the number of the first that none has played.

    `given_up` is what was acknowledged after a backup that was put back.
    """

    seed: int
    next_round: int = 0
    accidents: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "Tally | None":
        """Reads what `save` wrote; None where nothing was written yet."""
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        counts = {name: Counter(found[name]) for name in ("accidents", "acknowledged", "given_up")}
        return cls(**(found | counts))

    def save(self, path: Path) -> None:
        """Writes the counts, in one step."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(json.dumps(vars(self), indent=1, sort_keys=True) + "\n")
        unfinished.replace(path)

    def add(self, other: "Tally") -> None:
        """Adds the counts of the rounds after these. Raises ValueError for those of another seed."""
        if other.seed != self.seed:
            raise ValueError(f"runs of seeds {self.seed} and {other.seed} do not add up")
        self.next_round = other.next_round
        self.accidents += other.accidents
        self.acknowledged += other.acknowledged
        self.given_up += other.given_up
        self.faults = (self.faults + other.faults)[:FAULTS_KEPT]

    def __str__(self) -> str:
        return (
            f"{self.next_round} rounds, {self.accidents.total()} accidents ({_words(self.accidents)}); "
            f"acknowledged {_words(self.acknowledged)}; given up by restored backups {_words(self.given_up)}; "
            f"{len(self.faults)} broken promises"
        )


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
