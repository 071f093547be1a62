"""The prover's side of the challenge: runs a GPU's chain on a backend, commits to it and opens what is asked."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.challenge import (
    GENESIS_LINK,
    MATRIX_A,
    MATRIX_B,
    check_size,
    leaf_hash,
    matrix_rows,
    merkle_levels,
    merkle_path,
    next_link,
    round_key,
)
from schemas.nodes import Challenge, GpuOpening, GpuOpeningRequest, OpenedRound, OpenedRow

# float32 holds sums below 2²⁴ exactly: 127²·1024 < 2²⁴.
EXACT_DEPTH = 1024


class Round(Protocol):
    """One finished round, kept until it is opened."""

    root: bytes

    def open_row(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns the row's n INT32 (little endian) and its Merkle path."""


class Backend(Protocol):
    """What computes rounds: same key and n, same bytes, on every backend."""

    name: str

    def run_round(self, key: bytes, n: int) -> Round:
        """Generates A and B, multiplies them and hashes the rows."""


class NumpyRound:
    """A round in host memory."""

    def __init__(self, product: np.ndarray) -> None:
        self._rows = [row.tobytes() for row in product.astype("<i4", copy=False)]
        self._levels = merkle_levels([leaf_hash(row) for row in self._rows])
        self.root = self._levels[-1][0]

    def open_row(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns a row and its path."""
        return self._rows[index], merkle_path(self._levels, index)


class NumpyBackend:
    """The CPU backend: exact, because float32 products are summed in blocks that float32 holds exactly."""

    name = "numpy"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round."""
        a = matrix_rows(key, MATRIX_A, n, 0, n).astype(np.float32)
        b = matrix_rows(key, MATRIX_B, n, 0, n).astype(np.float32)
        return NumpyRound(multiply_exactly(a, b))


@dataclass(frozen=True)
class Chain:
    """All rounds of one GPU, and the head to commit to."""

    gpu_uuid: str
    rounds: tuple[Round, ...]
    head: bytes


def multiply_exactly(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiplies two float32 matrices of INT8 values into INT32 without rounding."""
    product = np.zeros((a.shape[0], b.shape[1]), dtype=np.int32)
    for first in range(0, a.shape[1], EXACT_DEPTH):
        product += (a[:, first : first + EXACT_DEPTH] @ b[first : first + EXACT_DEPTH]).astype(np.int32)
    return product


def run_chain(backend: Backend, challenge: Challenge, agent: str, gpu_uuid: str) -> Chain:
    """Runs all rounds for one GPU; each round's matrices need the link of the round before."""
    check_size(challenge.n)
    link = GENESIS_LINK
    rounds = []
    for number in range(1, challenge.rounds + 1):
        rounds.append(backend.run_round(round_key(challenge.nonce, agent, gpu_uuid, number, link), challenge.n))
        link = next_link(link, rounds[-1].root)
    return Chain(gpu_uuid, tuple(rounds), link)


def open_chain(chain: Chain, asked: GpuOpeningRequest) -> GpuOpening:
    """Answers an opening request for one GPU."""
    return GpuOpening(
        gpu_uuid=chain.gpu_uuid,
        roots=tuple(round_.root.hex() for round_ in chain.rounds),
        rounds=tuple(
            OpenedRound(round=wanted.round, rows=tuple(_open_row(chain, wanted.round, index) for index in wanted.rows))
            for wanted in asked.rounds
        ),
    )


def _open_row(chain: Chain, number: int, index: int) -> OpenedRow:
    values, path = chain.rounds[number - 1].open_row(index)
    return OpenedRow(index=index, values=b64encode(values).decode(), path=tuple(sibling.hex() for sibling in path))
