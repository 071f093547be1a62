"""The challenge against plain arithmetic: the generator in Python integers, exact products, any wrong number caught."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.node.challenge import NumpyBackend, multiply_exactly, open_chain, run_chain
from schemas.challenge import (
    MATRIX_A,
    MATRIX_B,
    check_chain,
    draw_opening,
    expected_products,
    fold_path,
    leaf_hash,
    matrix_rows,
    merkle_levels,
    merkle_path,
    secret_vector,
)
from schemas.nodes import Challenge
from tests.fixtures.proof_oracle import plain_leaf, plain_row

NODE, GPU = "node-1", "GPU-00000001"
keys = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(keys, st.sampled_from([MATRIX_A, MATRIX_B]), st.sampled_from([32, 64]), st.data())
@settings(max_examples=30, deadline=None)
def test_any_row_can_be_made_alone_and_is_what_the_plain_generator_gives(key, matrix, n, data):
    row = data.draw(st.integers(0, n - 1))
    assert matrix_rows(key, matrix, n, row, 1)[0].tolist() == plain_row(key, matrix, n, row)
    assert matrix_rows(key, matrix, n, 0, n)[row].tolist() == plain_row(key, matrix, n, row)


@given(keys)
@settings(max_examples=10, deadline=None)
def test_the_entries_use_the_whole_range_around_a_mean_of_zero(key):
    values = matrix_rows(key, MATRIX_A, 512, 0, 512).astype(np.int64)
    # Standard deviation of the mean of 512² uniform entries: 73.6 / 512 = 0.144.
    assert abs(values.mean()) < 6 * 0.144
    assert (values.min(), values.max()) == (-127, 127)


@given(keys)
@settings(max_examples=10, deadline=None)
def test_the_product_and_its_check_agree_with_plain_integer_arithmetic(key):
    a, b = (matrix_rows(key, matrix, 64, 0, 64) for matrix in (MATRIX_A, MATRIX_B))
    exact = a.astype(np.int64) @ b.astype(np.int64)
    assert multiply_exactly(a.astype(np.float32), b.astype(np.float32)).tolist() == exact.tolist()
    r = secret_vector(b"secret", key, 64)
    assert (exact @ r).tolist() == expected_products(key, 64, r).tolist()


@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_leaf_is_the_hash_of_the_hashes_of_its_segments(doublings, seed):
    values = np.random.default_rng(seed).integers(-(2**31), 2**31, 256 * 2**doublings, dtype=np.int64)
    assert leaf_hash(values.astype("<i4").tobytes()) == plain_leaf(values.tolist())


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=16).filter(lambda rows: len(rows) & (len(rows) - 1) == 0))
def test_every_leaf_leads_to_the_root_by_its_path_and_by_no_other_place(rows):
    levels = merkle_levels([leaf_hash(row) for row in rows])
    for index, row in enumerate(rows):
        path = merkle_path(levels, index)
        assert fold_path(leaf_hash(row), index, path) == levels[-1][0]
        assert fold_path(leaf_hash(row + b"!"), index, path) != levels[-1][0]


@given(nonces, st.sampled_from([32, 64]), st.integers(1, 4), keys, st.data())
@settings(max_examples=25, deadline=None)
def test_honest_work_passes_and_one_wrong_number_in_an_opened_row_does_not(nonce, n, rounds, secret, data):
    challenge = Challenge(
        challenge_id="c",
        cause="gate",
        nonce=nonce,
        n=n,
        rounds=rounds,
        gpu_uuids=(GPU,),
        issued_ms=0,
        deadline_ms=1,
    )
    asked = draw_opening(secret, challenge, GPU, data.draw(st.integers(1, rounds)), data.draw(st.integers(1, 8)))
    chain = run_chain(NumpyBackend(), challenge, NODE, GPU)
    assert check_chain(challenge, NODE, chain.head.hex(), asked, open_chain(chain, asked), secret) == ""

    target = data.draw(st.sampled_from(asked.rounds))
    forged = run_chain(
        OneWrongNumber(target.round, data.draw(st.sampled_from(target.rows)), data.draw(st.integers(1, 2**31 - 1))),
        challenge,
        NODE,
        GPU,
    )
    assert check_chain(challenge, NODE, forged.head.hex(), asked, open_chain(forged, asked), secret) == "row_differs"


class OneWrongNumber(NumpyBackend):
    """Honest but for one number of one row of one round, which it commits to as well."""

    def __init__(self, round_: int, row: int, error: int) -> None:
        self._round, self._row, self._error, self._count = round_, row, error, 0

    def run_round(self, key: bytes, n: int):
        """Runs one round."""
        self._count += 1
        honest = super().run_round(key, n)
        if self._count != self._round:
            return honest
        product = np.array([np.frombuffer(honest.open_row(index)[0], "<i4") for index in range(n)])
        product[self._row, 0] ^= self._error
        return type(honest)(product)
