"""How a rule says no: raised before anything has changed, and turned into an event by the engine."""

from schemas.events import RejectCode, WhyUnfilled


class RuleBroken(Exception):
    """A command breaks a rule; nothing has changed."""

    def __init__(self, code: RejectCode, order_id: int | None = None, why: WhyUnfilled | None = None):
        super().__init__(code)
        self.code = code
        self.order_id = order_id
        self.why = why


def require(kept: bool, code: RejectCode) -> None:
    """Refuses with the code unless the rule is kept."""
    if not kept:
        raise RuleBroken(code)
