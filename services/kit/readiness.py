"""What a service still waits for; empty means ready."""


class Readiness:
    """Named conditions of a service; `/readyz` shows those that do not hold yet."""

    def __init__(self, *conditions: str):
        self._waiting = dict.fromkeys(conditions)

    def done(self, condition: str) -> None:
        """The condition holds from now on."""
        self._waiting.pop(condition, None)

    def waits(self, condition: str) -> None:
        """The condition no longer holds."""
        self._waiting[condition] = None

    @property
    def waiting(self) -> list[str]:
        """The conditions that do not hold, in the order given."""
        return list(self._waiting)
