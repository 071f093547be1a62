"""The residency answer: who holds the rows passes, who folds something else is caught by any opened row."""

import pytest

from agents.node.challenge import Chain, NumpyBackend, NumpyRound, answer_residency, residency_paths, run_chain
from schemas.challenge import draw_opening
from schemas.nodes import Challenge, GpuOpeningRequest
from schemas.residency import SampledRow, check_residency, check_stride, residency_digest, residency_key

NODE, GPU, OTHER_GPU = "node-1", "GPU-00000001", "GPU-00000002"
NONCE, SECRET = "cd" * 32, b"known to the server alone"
STRIDE = 2
CHALLENGE = Challenge(
    challenge_id="c1",
    cause="idle",
    nonce="ab" * 32,
    n=64,
    rounds=4,
    gpu_uuids=(GPU,),
    issued_ms=0,
    deadline_ms=60_000,
)
ASKED = draw_opening(SECRET, CHALLENGE, GPU, 4, 16)


def sampled_rows(chain: Chain, asked: GpuOpeningRequest = ASKED, shown: Chain | None = None) -> list[SampledRow]:
    """The opened rows as the venue reads them: values from `shown`, paths from the chain that was folded."""
    paths = residency_paths(chain, asked)
    return [
        SampledRow(wanted.round, index, (shown or chain).rounds[wanted.round - 1].open_row(index)[0], path)
        for wanted, of_round in zip(asked.rounds, paths, strict=True)
        for index, path in zip(wanted.rows, of_round, strict=True)
    ]


def key_of(chain: Chain, nonce: str = NONCE) -> bytes:
    return residency_key(nonce, NODE, GPU, chain.head)


def honest() -> Chain:
    return run_chain(NumpyBackend(), CHALLENGE, NODE, GPU)


class Forgetful(NumpyBackend):
    """Commits to true rows, and folds zeros in place of every second one: half the memory."""

    name = "half the memory"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        return HalfHeld(super().run_round(key, n)._product)


class HalfHeld(NumpyRound):
    """A round whose odd rows are gone when they are folded."""

    def fold(self, key: bytes, number: int, stride: int) -> None:
        """Folds what is left."""
        held, self._product = self._product, self._product.copy()
        self._product[1::2] = 0
        super().fold(key, number, stride)
        self._product = held


def test_who_holds_all_rows_passes_at_every_stride():
    chain = honest()
    for stride in (1, 2, 4, 8):
        answer = answer_residency(chain, NODE, NONCE, stride)
        rows = sampled_rows(chain)
        assert check_residency(key_of(chain), 64, stride, answer.digest, answer.roots, rows) == ""


def test_a_digest_of_other_rows_than_those_committed_to_is_caught():
    chain = run_chain(Forgetful(), CHALLENGE, NODE, GPU)
    answer = answer_residency(chain, NODE, NONCE, STRIDE)
    rows = sampled_rows(chain)
    assert check_residency(key_of(chain), 64, STRIDE, answer.digest, answer.roots, rows) == "residency_differs"


def test_an_answer_to_another_nonce_gpu_or_stride_is_caught():
    chain = honest()
    answer = answer_residency(chain, NODE, NONCE, STRIDE)
    rows = sampled_rows(chain)
    for key, stride in (
        (key_of(chain, "ef" * 32), STRIDE),
        (residency_key(NONCE, NODE, OTHER_GPU, chain.head), STRIDE),
        (key_of(chain), 4),
    ):
        assert check_residency(key, 64, stride, answer.digest, answer.roots, rows) == "residency_differs"


def test_roots_that_do_not_make_the_digest_and_rows_of_a_wrong_shape_are_reasons():
    chain = honest()
    answer = answer_residency(chain, NODE, NONCE, STRIDE)
    rows = sampled_rows(chain)
    first = rows[0]

    def reason(roots: tuple[bytes, ...] = answer.roots, row: SampledRow = first) -> str:
        digest = residency_digest(answer.roots)
        return check_residency(key_of(chain), 64, STRIDE, digest, roots, [row])

    assert reason() == ""
    assert reason(roots=answer.roots[::-1]) == "residency_roots_differ"
    assert reason(roots=answer.roots[1:]) == "residency_roots_differ"
    for changed in (
        SampledRow(0, first.index, first.values, first.path),
        SampledRow(5, first.index, first.values, first.path),
        SampledRow(first.round, 64, first.values, first.path),
        SampledRow(first.round, first.index, first.values[4:], first.path),
        SampledRow(first.round, first.index, first.values, first.path[1:]),
    ):
        assert reason(row=changed) == "wrong_shape"


@pytest.mark.parametrize("stride", [0, 3, 16, -1])
def test_a_stride_that_does_not_divide_the_sectors_of_a_row_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride = {stride} is not a power of two from 1 to 8"):
        check_stride(64, stride)
    with pytest.raises(ValueError, match="is not a power of two"):
        answer_residency(honest(), NODE, NONCE, stride)
