"""The chain challenge: the bytes are fixed, honest work passes, and every way of saving work is caught."""

import time
from base64 import b64encode

import numpy as np
import pytest

from agents.node.challenge import NumpyBackend, multiply_exactly, open_chain, run_chain
from schemas.challenge import (
    check_chain,
    check_size,
    draw_opening,
    links_of,
    operations_per_s,
    round_key,
)
from schemas.nodes import Challenge, RoundRows
from tests.fakes.cheats import (
    CachedTranscript,
    HalfDepth,
    LowerPrecision,
    OtherGpu,
    PartialRounds,
    RankOne,
    RoundedInputs,
    WrongRows,
)

GPU, OTHER_GPU = "GPU-00000001", "GPU-00000002"
NODE = "node-1"
SECRET = b"known to the server alone"


def challenge_of(n: int = 64, rounds: int = 4, nonce: str = "ab" * 32) -> Challenge:
    return Challenge(
        challenge_id="c1",
        cause="idle",
        nonce=nonce,
        n=n,
        rounds=rounds,
        gpu_uuids=(GPU,),
        issued_ms=0,
        deadline_ms=60_000,
    )


def judge(challenge: Challenge, backend, open_rounds: int = 4, open_rows: int = 16) -> str:
    chain = run_chain(backend, challenge, NODE, GPU)
    asked = draw_opening(SECRET, challenge, GPU, open_rounds, open_rows)
    return check_chain(challenge, NODE, chain.head.hex(), asked, open_chain(chain, asked), SECRET)


def test_the_generator_gives_the_published_philox_block_for_key_and_counter_zero():
    # Known answers of Philox4x64-10, Random123 (Salmon et al.); NumPy counts up before it generates.
    before_zero = np.array([2**64 - 1] * 4, dtype=np.uint64)
    block = np.random.Philox(key=np.zeros(2, dtype=np.uint64), counter=before_zero).random_raw(4)
    assert [int(word) for word in block] == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


def test_the_product_stays_exact_where_float32_sums_would_not():
    deep = np.full((2, 4096), 127, dtype=np.float32)
    assert multiply_exactly(deep, deep.T).tolist() == [[127 * 127 * 4096] * 2] * 2


def test_an_honest_chain_passes():
    assert judge(challenge_of(), NumpyBackend()) == ""


def test_a_chain_of_n_512_and_its_check_take_less_than_a_second_of_processor_time():
    challenge = challenge_of(n=512)
    started = time.process_time()
    assert judge(challenge, NumpyBackend(), open_rounds=2) == ""
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "backend",
    [WrongRows(honest_rows=32), RankOne(), LowerPrecision(), RoundedInputs(), HalfDepth(), PartialRounds(3)],
    ids=lambda backend: backend.name,
)
def test_saved_work_shows_in_the_opened_rows(backend):
    assert judge(challenge_of(), backend) == "row_differs"


def test_an_old_transcript_does_not_answer_a_new_nonce():
    old = run_chain(NumpyBackend(), challenge_of(nonce="cd" * 32), NODE, GPU)
    assert judge(challenge_of(), CachedTranscript(old.rounds)) == "row_differs"


def test_one_gpu_cannot_answer_for_another():
    challenge = challenge_of()
    others = run_chain(NumpyBackend(), challenge, NODE, OTHER_GPU)
    links = links_of([round_.root for round_ in others.rounds])
    keys = [round_key(challenge.nonce, NODE, OTHER_GPU, t + 1, links[t]) for t in range(challenge.rounds)]
    assert judge(challenge, OtherGpu(keys)) == "row_differs"


def test_work_done_after_the_opening_was_drawn_does_not_fit_the_committed_head():
    challenge = challenge_of()
    committed = run_chain(RankOne(), challenge, NODE, GPU).head.hex()
    honest = run_chain(NumpyBackend(), challenge, NODE, GPU)
    asked = draw_opening(SECRET, challenge, GPU, 2, 8)
    assert check_chain(challenge, NODE, committed, asked, open_chain(honest, asked), SECRET) == "head_differs"


def test_an_opening_that_is_not_what_was_asked_is_refused_with_its_reason():
    challenge = challenge_of()
    chain = run_chain(NumpyBackend(), challenge, NODE, GPU)
    asked = draw_opening(SECRET, challenge, GPU, 2, 8)
    opening = open_chain(chain, asked)
    first = opening.rounds[0].rows[0]

    def reason(**changes) -> str:
        changed = opening.model_copy(update=changes)
        return check_chain(challenge, NODE, chain.head.hex(), asked, changed, SECRET)

    def with_first_row(**changes) -> dict:
        rows = (first.model_copy(update=changes), *opening.rounds[0].rows[1:])
        return {"rounds": (opening.rounds[0].model_copy(update={"rows": rows}), *opening.rounds[1:])}

    other = open_chain(chain, asked.model_copy(update={"rounds": (RoundRows(round=1, rows=(0,)),)}))
    zeros = b64encode(bytes(4 * challenge.n)).decode()
    assert reason() == ""
    assert reason(gpu_uuid=OTHER_GPU) == "wrong_shape"
    assert reason(roots=opening.roots[1:]) == "wrong_shape"
    assert reason(rounds=other.rounds) == "not_what_was_asked"
    assert reason(rounds=opening.rounds[:1]) == "not_what_was_asked"
    assert reason(**with_first_row(values=first.values[:-4])) == "wrong_shape"
    assert reason(**with_first_row(values="AAA")) == "wrong_shape"
    assert reason(**with_first_row(path=first.path[1:])) == "wrong_shape"
    assert reason(**with_first_row(values=zeros)) == "path_differs"
    assert reason(**with_first_row(path=first.path[::-1])) == "path_differs"


def test_rows_outside_the_matrix_are_a_reason_and_no_error():
    challenge = challenge_of()
    chain = run_chain(NumpyBackend(), challenge, NODE, GPU)
    asked = draw_opening(SECRET, challenge, GPU, 1, 1)
    opening = open_chain(chain, asked)
    row = opening.rounds[0].rows[0].model_copy(update={"index": challenge.n})
    beyond = asked.model_copy(update={"rounds": (RoundRows(round=asked.rounds[0].round, rows=(challenge.n,)),)})
    opening = opening.model_copy(update={"rounds": (opening.rounds[0].model_copy(update={"rows": (row,)}),)})
    assert check_chain(challenge, NODE, chain.head.hex(), beyond, opening, SECRET) == "wrong_shape"


def test_the_draw_is_the_same_for_the_same_secret_and_another_for_another():
    challenge = challenge_of()
    first = draw_opening(SECRET, challenge, GPU, 2, 8)
    assert draw_opening(SECRET, challenge, GPU, 2, 8) == first
    assert draw_opening(b"another", challenge, GPU, 2, 8) != first
    assert [len(round_.rows) for round_ in first.rounds] == [8, 8]


@pytest.mark.parametrize("n", [0, 16, 33, 96, 1000])
def test_a_size_that_is_no_power_of_two_from_32_up_is_refused(n):
    with pytest.raises(ValueError, match=f"n = {n} is not a power of two"):
        check_size(n)


def test_the_score_counts_two_operations_per_product_over_the_servers_time():
    assert operations_per_s(n=512, rounds=4, elapsed_us=100_000) == 4 * 2 * 512**3 * 10
    assert operations_per_s(n=512, rounds=1, elapsed_us=0) == 2 * 512**3 * 1_000_000
