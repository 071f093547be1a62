"""What the doctor finds: one line each, in order, or not, and what to do about it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "mend"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` keeps something from being sold; a `warning` costs something, or may.

    `is_detail` marks one that goes into the summary of its subject where all is well.
    """

    verdict: Verdict
    subject: str
    words: str
    advice: str = ""
    is_detail: bool = False

    def line(self) -> str:
        """Returns the finding as a line for people."""
        return f"{self.verdict:<8} {self.subject}: {self.words}" + (f"; {self.advice}" if self.advice else "")


def ok(subject: str, words: str) -> Finding:
    """Returns that something is in order."""
    return Finding("ok", subject, words)


def warn(subject: str, words: str, advice: str = "") -> Finding:
    """Returns that something may cost something."""
    return Finding("warning", subject, words, advice)


def mend(subject: str, words: str, advice: str = "") -> Finding:
    """Returns that something keeps the node from selling."""
    return Finding("mend", subject, words, advice)


def lines_of(findings: Iterable[Finding], with_details: bool = False) -> list[str]:
    """Returns the lines for people: of the calls that answer only how many, unless each is asked for."""
    lines: list[str] = []
    answered: dict[str, int] = {}
    for finding in findings:
        if finding.is_detail and finding.verdict == "ok" and not with_details:
            if finding.subject not in answered:
                lines.append(finding.subject)
            answered[finding.subject] = answered.get(finding.subject, 0) + 1
        else:
            lines.append(finding.line())
    return [ok(line, f"{answered[line]} NVML calls answer").line() if line in answered else line for line in lines]


def document_of(findings: Iterable[Finding]) -> dict[str, Any]:
    """Returns the findings as JSON: all of them, and how many there are of each verdict."""
    rows = [{name: value for name, value in asdict(finding).items() if name != "is_detail"} for finding in findings]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("ok", "warning", "mend")}
    return {"counts": counts, "findings": rows}
