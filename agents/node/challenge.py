"""The prover's side of the challenge: runs a GPU's chain on a backend, commits to it and opens what is asked.

For one GPU: `run_chain` (its head is committed to), `answer_residency` where the venue asks, `open_chain` and
`residency_paths`, and at last `Chain.release`, whatever came of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from agents.node.errors import ProofFailed
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
from schemas.lazy_numpy import np
from schemas.nodes import Challenge, GpuOpening, GpuOpeningRequest, OpenedRound, OpenedRow
from schemas.residency import check_stride, fold_rows, residency_digest, residency_key, residency_levels

# float32 holds sums below 2²⁴ exactly: 127²·1024 < 2²⁴.
EXACT_DEPTH = 1024
NO_NUMPY = "the CPU's proof, for simulated GPUs, needs NumPy: pip install 'hourbook-agent[cpu-proof]'"
# Folding takes some 40 bytes for each sampled word.
FOLD_ROWS = 256


class Round(Protocol):
    """One finished round, kept until it is opened."""

    root: bytes

    def open_row(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns the row's n INT32 (little endian) and its Merkle path."""

    def fold(self, key: bytes, number: int, stride: int) -> None:
        """Begins to fold all rows as round `number` under a residency key, behind what was begun before."""

    def residency_root(self) -> bytes:
        """Returns the root over the folds, once they are there."""

    def residency_path(self, index: int) -> tuple[bytes, ...]:
        """Returns a row's path in the tree of the last `fold`."""


class Run(Protocol):
    """The rounds of one GPU's chain in the making, and the memory that they take."""

    def run_round(self, key: bytes) -> Round:
        """Generates A and B, multiplies them and hashes the rows."""

    def release(self) -> None:
        """Frees the memory of all rounds; none of them can be opened afterwards. A second call does nothing."""


class Backend(Protocol):
    """What computes rounds: same key and n, same bytes, on every backend."""

    name: str

    def begin(self, gpu_uuid: str, n: int, rounds: int) -> Run:
        """Takes the memory for so many rounds on the GPU of this UUID. Raises ProofFailed where that cannot be."""


class NumpyRound:
    """A round in host memory."""

    def __init__(self, product: np.ndarray) -> None:
        self._product = np.ascontiguousarray(product, dtype="<i4")
        self._levels = merkle_levels([leaf_hash(row.tobytes()) for row in self._product])
        self._residency_levels: list[list[bytes]] = []
        self.root = self._levels[-1][0]

    def open_row(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns a row and its path."""
        return self._product[index].tobytes(), merkle_path(self._levels, index)

    def fold(self, key: bytes, number: int, stride: int) -> None:
        """Folds all rows."""
        folds: list[int] = []
        for first in range(0, len(self._product), FOLD_ROWS):
            rows = self._product[first : first + FOLD_ROWS]
            folds += fold_rows(key, number, range(first, first + len(rows)), rows, stride).tolist()
        self._residency_levels = residency_levels(folds)

    def residency_root(self) -> bytes:
        """Returns the root over the folds."""
        return self._residency_levels[-1][0]

    def residency_path(self, index: int) -> tuple[bytes, ...]:
        """Returns a row's path in the residency tree."""
        return merkle_path(self._residency_levels, index)


class HostBackend(ABC):
    """A backend whose rounds lie in the host's memory, the same for every GPU: `run_round` is all that it needs."""

    name = "host"

    def begin(self, gpu_uuid: str, n: int, rounds: int) -> HostRun:
        """Begins a chain; nothing is taken beforehand."""
        return HostRun(self, n)

    @abstractmethod
    def run_round(self, key: bytes, n: int) -> Round:
        """Runs one round."""


class NumpyBackend(HostBackend):
    """The CPU backend: exact, because float32 products are summed in blocks that float32 holds exactly."""

    name = "numpy"

    def run_round(self, key: bytes, n: int) -> NumpyRound:
        """Runs one round. Raises ProofFailed where NumPy is not installed."""
        if find_spec("numpy") is None:
            raise ProofFailed(NO_NUMPY)
        a = matrix_rows(key, MATRIX_A, n, 0, n).astype(np.float32)
        b = matrix_rows(key, MATRIX_B, n, 0, n).astype(np.float32)
        return NumpyRound(multiply_exactly(a, b))


@dataclass(frozen=True)
class HostRun:
    """A chain in host memory."""

    backend: HostBackend
    n: int

    def run_round(self, key: bytes) -> Round:
        """Runs one round."""
        return self.backend.run_round(key, self.n)

    def release(self) -> None:
        """Does nothing: the rounds' memory goes with the last reference to them."""


@dataclass(frozen=True)
class Chain:
    """All rounds of one GPU, and the head to commit to."""

    gpu_uuid: str
    rounds: tuple[Round, ...]
    head: bytes
    n: int
    run: Run

    def release(self) -> None:
        """Frees the memory of all rounds; nothing of the chain can be opened afterwards."""
        self.run.release()


@dataclass(frozen=True)
class Residency:
    """One GPU's answer to a second nonce: the digest to send before the deadline, and the roots for the opening."""

    digest: bytes
    roots: tuple[bytes, ...]


def multiply_exactly(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiplies two float32 matrices of INT8 values into INT32 without rounding."""
    product = np.zeros((a.shape[0], b.shape[1]), dtype=np.int32)
    for first in range(0, a.shape[1], EXACT_DEPTH):
        product += (a[:, first : first + EXACT_DEPTH] @ b[first : first + EXACT_DEPTH]).astype(np.int32)
    return product


def run_chain(backend: Backend, challenge: Challenge, agent: str, gpu_uuid: str) -> Chain:
    """Runs all rounds for one GPU; each round's matrices need the link of the round before.

    Raises ProofFailed where the backend cannot; nothing is kept then.
    """
    check_size(challenge.n)
    link = GENESIS_LINK
    rounds = []
    run = backend.begin(gpu_uuid, challenge.n, challenge.rounds)
    try:
        for number in range(1, challenge.rounds + 1):
            rounds.append(run.run_round(round_key(challenge.nonce, agent, gpu_uuid, number, link)))
            link = next_link(link, rounds[-1].root)
    except BaseException:
        run.release()
        raise
    return Chain(gpu_uuid, tuple(rounds), link, challenge.n, run)


def answer_residency(chain: Chain, agent: str, nonce: str, stride: int) -> Residency:
    """Answers the second nonce (hex) for one GPU. Raises ValueError for a stride that does not fit n."""
    check_stride(chain.n, stride)
    key = residency_key(nonce, agent, chain.gpu_uuid, chain.head)
    for number, round_ in enumerate(chain.rounds, 1):
        round_.fold(key, number, stride)
    roots = tuple(round_.residency_root() for round_ in chain.rounds)
    return Residency(residency_digest(roots), roots)


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


def residency_paths(chain: Chain, asked: GpuOpeningRequest) -> Sequence[Sequence[tuple[bytes, ...]]]:
    """Returns the residency paths of the opened rows: for each round that was asked, one for each of its rows."""
    return [[chain.rounds[wanted.round - 1].residency_path(index) for index in wanted.rows] for wanted in asked.rounds]


def _open_row(chain: Chain, number: int, index: int) -> OpenedRow:
    values, path = chain.rounds[number - 1].open_row(index)
    return OpenedRow(index=index, values=b64encode(values).decode(), path=tuple(sibling.hex() for sibling in path))
