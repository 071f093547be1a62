"""What the agent tells its operator: one line when something goes wrong, none for each try, one when it is over."""

import logging

log = logging.getLogger("hourbook.agent")


class Notices:
    """Remembers what was said last about each subject."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def say(self, subject: str, words: str) -> None:
        """Logs a warning about a subject, unless the same was said last."""
        if self._said.get(subject) != words:
            self._said[subject] = words
            log.warning("%s", words)

    def clear(self, subject: str, words: str = "") -> None:
        """Notes that a subject is in order again; says so where something was said, and words are given."""
        if self._said.pop(subject, None) is not None and words:
            log.info("%s", words)

    def about(self) -> dict[str, str]:
        """Returns what stands, by subject."""
        return dict(self._said)
