"""Folds against plain integers, word by word; every sampled word counts, and no other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.residency import fold_rows
from tests.fixtures.proof_oracle import plain_fold

keys = st.binary(min_size=32, max_size=32)
sizes = st.sampled_from([(32, 1), (32, 4), (64, 2), (128, 16)])


def some_rows(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**31), 2**31, (3, n)).astype("<i4")


@given(keys, sizes, st.integers(1, 2**20), st.lists(st.integers(0, 2**17), min_size=3, max_size=3), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_folds_are_those_of_plain_integers(key, size, round_, indices, seed):
    n, stride = size
    rows = some_rows(seed, n)
    plain = [plain_fold(key, round_, i, row.tolist(), stride) for i, row in zip(indices, rows, strict=True)]
    assert fold_rows(key, round_, indices, rows, stride).tolist() == plain


@given(keys, sizes, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_changed_word_changes_the_fold_exactly_where_it_is_sampled(key, size, seed):
    """Holds [D-36]"""
    n, stride = size
    row = some_rows(seed, n)[:1]
    before = int(fold_rows(key, 1, [0], row, stride)[0])
    changes = []
    for place in range(n):
        changed = row.copy()
        changed[0, place] ^= 1
        changes.append(int(fold_rows(key, 1, [0], changed, stride)[0]) != before)
    assert sum(changes) == n // stride
    first = changes.index(True)
    assert changes == [place // 8 % stride == first // 8 for place in range(n)]
