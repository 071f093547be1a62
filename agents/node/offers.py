"""What the policy says of tiers: which are offered at once, with how many GPUs each, in which hours, at which price."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from agents.node.price_rules import PriceRule
from agents.node.sections import Section, as_tuple
from agents.node.windows import Window
from schemas.ids import Tier

TTL_S_MAX = 10_000_000
Windows = Annotated[tuple[Window, ...], BeforeValidator(as_tuple), Field(max_length=100)]


class KeepFree(Window):
    """A window in which the operator keeps GPUs for himself: so many, or all."""

    gpus: Annotated[int, Field(ge=1, le=64)] | None = None

    def in_words(self) -> str:
        """Returns the window as an operator would say it."""
        return f"{'all' if self.gpus is None else self.gpus} kept free {super().in_words()}"


class OfferRule(Section):
    """One tier of several: at most `gpus` of it, sold ones included, in periods that begin in `hours`, at `price`.

    What is left out is as the policy says for all: all GPUs that earlier offers leave, all hours, the policy's price.
    """

    tier: Tier
    gpus: Annotated[int, Field(ge=1, le=64)] | None = None
    hours: Windows = ()
    price: PriceRule | None = None
