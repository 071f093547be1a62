"""The arithmetic of the residency answer: a digest of results that only a prover who still holds them finds in time.

After the commit to the head h_T of a GPU's chain (`schemas.challenge`) the venue sends a second nonce and a stride, and
soon afterwards takes no more answers. With the words of C_t as unsigned 32-bit numbers, little endian:

    key      = SHA-256 over second nonce, agent, GPU UUID and head, each preceded by its length; as words k_0…k_3
    seed     = mix(mix(mix(k_0 ^ t) ^ k_1 ^ i) ^ k_2)                                  for row i of round t
    sampled  = of the row's n/8 sectors of 8 words (32 bytes), every stride-th, first mix(seed ^ k_3) modulo stride
    fold     = Σ mix(seed ^ (j·2³² + w_j)) modulo 2⁶⁴ over the sampled words, at place j of the row
    root_t   = Merkle root over the leaves SHA-256(0x03 ‖ fold, 8 bytes) of the rows, nodes as in `schemas.challenge`
    digest   = SHA-256(0x04 ‖ root_1 ‖ … ‖ root_T)

`mix` is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): xor-shifts and odd multiplications. It is
not linear in the word on purpose: a linear fold Σ m_j·w_j of all rows is A·(B·m), which takes O(n²) and no memory of C.
With it, a prover without the words has to compute each sampled one again, n multiplications for one; so a stride of s
leaves 1/s of the chain's work to whoever holds nothing, and the deadline has to be shorter than that.

The rows that are opened later show whether the digest was made of the rows that were committed to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from schemas.challenge import check_size, fold_path, merkle_levels, prefixed_hash
from schemas.lazy_numpy import np

SECTOR_WORDS = 8
_WORD = 2**64 - 1
_FACTORS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SHIFTS = 30, 27, 31


@dataclass(frozen=True)
class SampledRow:
    """A row that was opened, with its path in the residency tree of its round.

    `round` counts from 1, `index` from 0; `values` are the row's n INT32, little endian; `path` is the siblings of its
    leaf from the lowest level up.
    """

    round: int
    index: int
    values: bytes
    path: tuple[bytes, ...]


def check_stride(n: int, stride: int) -> None:
    """Raises ValueError unless stride is a power of two from 1 to n/8: every row then has as many sampled words."""
    check_size(n)
    if not 1 <= stride <= n // SECTOR_WORDS or stride & (stride - 1):
        raise ValueError(f"stride = {stride} is not a power of two from 1 to {n // SECTOR_WORDS}")


def residency_key(nonce: str, agent: str, gpu_uuid: str, head: bytes) -> bytes:
    """Derives the key of one GPU's answer; `nonce` is the second one, in hex, sent after the head came."""
    return prefixed_hash(bytes.fromhex(nonce), agent.encode(), gpu_uuid.encode(), head)


def fold_words(key: bytes, round_: int) -> tuple[int, int, int]:
    """Returns the words that fold one round: the round's own, to be mixed with a row's index, then k_2 and k_3."""
    words = [int.from_bytes(key[first : first + 8], "little") for first in range(0, 32, 8)]
    return _mix_number(words[0] ^ round_) ^ words[1], words[2], words[3]


def fold_rows(key: bytes, round_: int, indices: Sequence[int], rows: np.ndarray, stride: int) -> np.ndarray:
    """Folds rows of one round: `rows` has one row of n INT32 for each index. Returns as many unsigned 64-bit folds."""
    rows = np.ascontiguousarray(rows, dtype="<i4")
    n = rows.shape[1]
    of_round, k_2, k_3 = (np.uint64(word) for word in fold_words(key, round_))
    seeds = _mix(_mix(of_round ^ np.asarray(indices, dtype=np.uint64)) ^ k_2)
    first = (_mix(seeds ^ k_3) % np.uint64(stride)).astype(np.int64)
    sectors = first[:, None] + np.arange(0, n // SECTOR_WORDS, stride)
    sampled = rows.view("<u4").reshape(len(rows), -1, SECTOR_WORDS)[np.arange(len(rows))[:, None], sectors]
    places = (sectors[:, :, None] * SECTOR_WORDS + np.arange(SECTOR_WORDS)).astype(np.uint64)
    mixed = _mix(seeds[:, None, None] ^ (places << np.uint64(32) | sampled))
    return mixed.reshape(len(rows), -1).sum(axis=1, dtype=np.uint64)


def residency_leaf(fold: int) -> bytes:
    """Hashes a row's fold as a leaf."""
    return sha256(b"\x03" + int(fold).to_bytes(8, "little")).digest()


def residency_levels(folds: Iterable[int]) -> list[list[bytes]]:
    """Builds a round's residency tree over the folds of all its rows: leaves first, the root in the last level."""
    return merkle_levels([residency_leaf(fold) for fold in folds])


def residency_digest(roots: Sequence[bytes]) -> bytes:
    """Returns what the prover answers: one digest over the residency roots of all rounds, in their order. [D-36]"""
    return sha256(b"\x04" + b"".join(roots)).digest()


def check_residency(
    key: bytes, n: int, stride: int, digest: bytes, roots: Sequence[bytes], rows: Iterable[SampledRow]
) -> str:
    """Judges a residency answer by rows that were opened: "" where it holds, else the reason.

    `digest` came before the deadline, `roots` (of all rounds) and `rows` with the opening. That the rows are those
    committed to and the true products is for `check_chain` to say. [D-38]
    """
    if residency_digest(roots) != digest:
        return "residency_roots_differ"
    depth = n.bit_length() - 1
    for row in rows:
        is_shaped = 1 <= row.round <= len(roots) and 0 <= row.index < n
        if not is_shaped or len(row.values) != 4 * n or len(row.path) != depth:
            return "wrong_shape"
        values = np.frombuffer(row.values, "<i4").reshape(1, n)
        fold = int(fold_rows(key, row.round, [row.index], values, stride)[0])
        if fold_path(residency_leaf(fold), row.index, row.path) != roots[row.round - 1]:
            return "residency_differs"
    return ""


def _mix(values: np.ndarray) -> np.ndarray:
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        values = (values ^ values >> np.uint64(shift)) * np.uint64(factor)
    return values ^ values >> np.uint64(_SHIFTS[2])


def _mix_number(value: int) -> int:
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        value = (value ^ value >> shift) * factor & _WORD
    return value ^ value >> _SHIFTS[2]
