"""A zoo of provers that save work: each is a backend that the agent's own code runs a chain on."""

import numpy as np

from agents.node.challenge import HostBackend, NumpyBackend, NumpyRound, multiply_exactly
from schemas.challenge import MATRIX_A, MATRIX_B, matrix_rows


def factors(key: bytes, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns A and B as float32."""
    return tuple(matrix_rows(key, matrix, n, 0, n).astype(np.float32) for matrix in (MATRIX_A, MATRIX_B))


def true_product(key: bytes, n: int) -> np.ndarray:
    """Returns C as an honest prover has it."""
    return multiply_exactly(*factors(key, n))


class WrongRows(HostBackend):
    """Computes only the first rows and leaves zeros in the rest."""

    name = "wrong rows"

    def __init__(self, honest_rows: int) -> None:
        self._honest_rows = honest_rows

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        product = true_product(key, n)
        product[self._honest_rows :] = 0
        return NumpyRound(product)


class RankOne(HostBackend):
    """Replaces the product by the outer product of the row sums of A and the column means of B: O(n²) work."""

    name = "rank one"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        a, b = factors(key, n)
        return NumpyRound(np.rint(np.outer(a.sum(axis=1), b.mean(axis=0))).astype(np.int32))


class LowerPrecision(HostBackend):
    """Keeps sums in half precision, as a chip with cheaper arithmetic would."""

    name = "float16"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        halves = (true_product(key, n) / 1024).astype(np.float16)
        return NumpyRound((halves.astype(np.float32) * 1024).astype(np.int32))


class RoundedInputs(HostBackend):
    """Drops the lowest bit of the inputs and multiplies exactly."""

    name = "seven bits"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        a, b = factors(key, n)
        return NumpyRound(multiply_exactly(np.trunc(a / 2) * 2, b))


class HalfDepth(HostBackend):
    """Sums over half of the columns only."""

    name = "half depth"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        a, b = factors(key, n)
        return NumpyRound(multiply_exactly(a[:, : n // 2], b[: n // 2]))


class CachedTranscript(HostBackend):
    """Answers every challenge with the rounds of an old one."""

    name = "cached"

    def __init__(self, old_rounds: tuple[NumpyRound, ...]) -> None:
        self._old_rounds = list(old_rounds)

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        return self._old_rounds.pop(0)


class PartialRounds(NumpyBackend):
    """Computes the first rounds and repeats the last of them for the rest."""

    name = "partial rounds"

    def __init__(self, honest_rounds: int) -> None:
        self._left, self._last = honest_rounds, None

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        if self._left:
            self._left -= 1
            self._last = super().run_round(key, n)
        return self._last


class OtherGpu(NumpyBackend):
    """Runs honest rounds, but for another GPU's keys: one real GPU that answers for two."""

    name = "relay"

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = keys

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        return super().run_round(self._keys.pop(0), n)
