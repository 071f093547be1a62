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

NODE, GPU = "node-1", "GPU-00000001"
WORD = 2**64 - 1
keys = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=32, max_size=32).map(bytes.hex)


def philox_block(key: tuple[int, int], counter: int, matrix: int) -> list[int]:
    """Philox4x64-10 as its paper writes it, in Python integers."""
    x, k = [counter, 0, 0, matrix], list(key)
    for _ in range(10):
        low_0, high_0 = (0xD2E7470EE14C6C93 * x[0]) & WORD, (0xD2E7470EE14C6C93 * x[0]) >> 64
        low_1, high_1 = (0xCA5A826395121157 * x[2]) & WORD, (0xCA5A826395121157 * x[2]) >> 64
        x = [high_1 ^ x[1] ^ k[0], low_1, high_0 ^ x[3] ^ k[1], low_0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & WORD, (k[1] + 0xBB67AE8584CAA73B) & WORD]
    return x


def plain_row(key: bytes, matrix: int, n: int, row: int) -> list[int]:
    words = (int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little"))
    raw = b"".join(
        word.to_bytes(8, "little")
        for block in range(row * n // 32, (row + 1) * n // 32)
        for word in philox_block(words, block + 1, matrix)
    )
    values = [byte - 256 if byte > 127 else byte for byte in raw]
    return [0 if value == -128 else value for value in values]


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
