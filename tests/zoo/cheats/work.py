"""L2, the work: the product is not what was asked."""

from dataclasses import replace

from agents.node.challenge import Chain, run_chain
from schemas.challenge import links_of
from schemas.nodes import Challenge, GpuOpening
from tests.fakes.cheats import HalfDepth, LowerPrecision, PartialRounds, RankOne, RoundedInputs, WrongRows
from tests.zoo.machine import Chip
from tests.zoo.program import Program

ROWS = 64


class SavesWork(Program):
    """Computes with a backend that saves work."""

    caught_by, sign = "work", "quarantined challenge_row_differs"

    def backend(self) -> object:
        """Makes the backend of one GPU."""
        raise NotImplementedError

    def __init__(self, given) -> None:
        super().__init__(given)
        self.chips = {uuid: Chip(backend=self.backend()) for uuid in self.node.gpus}


class RankOneProduct(SavesWork):
    """An outer product instead of the product."""

    def backend(self) -> RankOne:
        return RankOne()


class HalfPrecision(SavesWork):
    """Sums in 16 bits."""

    def backend(self) -> LowerPrecision:
        return LowerPrecision()


class SevenBits(SavesWork):
    """Inputs of seven bits."""

    def backend(self) -> RoundedInputs:
        return RoundedInputs()


class HalfOfTheDepth(SavesWork):
    """Sums over half of the columns."""

    def backend(self) -> HalfDepth:
        return HalfDepth()


class HalfOfTheRows(SavesWork):
    """Computes half of the rows."""

    def backend(self) -> WrongRows:
        return WrongRows(ROWS // 2)


class FirstRoundsOnly(SavesWork):
    """Computes two rounds and repeats the last."""

    def backend(self) -> PartialRounds:
        return PartialRounds(2)


class AnotherChallengesChain(Program):
    """Commits to the chain of another nonce, which was computed in peace."""

    caught_by, sign = "work", "quarantined challenge_row_differs"

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        return await super().chain(challenge.model_copy(update={"nonce": "1" * 64}), uuid)


class AnotherGpusChain(Program):
    """Shows one GPU's chain for both."""

    caught_by, sign = "work", "quarantined challenge_row_differs"

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        chip, first = self.chips[uuid], self.node.gpus[0]
        chain = await chip.run(challenge, self.node.node_id, first)
        return replace(chain, gpu_uuid=uuid)


class WithoutAChain(Program):
    """Computes each round from the genesis link: all rounds at once, in any order, on many machines."""

    caught_by, sign = "work", "quarantined challenge_row_differs"

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        one = challenge.model_copy(update={"rounds": 1})
        first = run_chain(self.chips[uuid].backend, one, self.node.node_id, uuid)
        head = links_of([first.rounds[0].root] * challenge.rounds)[-1]
        return replace(first, rounds=first.rounds * challenge.rounds, head=head)


class OpensOtherRows(Program):
    """Opens rows that it has instead of those that were asked."""

    caught_by, sign = "work", "quarantined challenge_not_what_was_asked"

    def opening(self, opened: GpuOpening) -> GpuOpening:
        first = opened.rounds[0]
        rows = tuple(row.model_copy(update={"index": (row.index + 1) % ROWS}) for row in first.rows)
        return opened.model_copy(update={"rounds": (first.model_copy(update={"rows": rows}), *opened.rounds[1:])})


class RootsOfAnotherHead(Program):
    """Shows roots that do not lead to the head it committed to: a product that was made after the commit."""

    caught_by, sign = "work", "quarantined challenge_head_differs"

    def opening(self, opened: GpuOpening) -> GpuOpening:
        return opened.model_copy(update={"roots": (*opened.roots[:-1], "4" * 64)})
