"""The arithmetic of the INT8 chain challenge, shared by the prover (agent) and the verifier (delivery).

Round t of a GPU's chain, t = 1…T, with h_0 = 32 zero bytes (VERIFICATION.md, "Challenge"):

    k_t      = SHA-256 over nonce, agent, GPU UUID, t and h_{t-1}, each preceded by its length
    A_t, B_t = n×n INT8 in -127…127 with mean zero, from Philox4x64-10 under the first 16 bytes of k_t
    C_t      = A_t·B_t in INT32, exact for n ≤ 131,072 because n·127² < 2³¹
    leaf     = SHA-256(0x00 ‖ SHA-256(segment_0) ‖ SHA-256(segment_1) …) over a row of C_t in segments of 512 values
    h_t      = SHA-256(0x02 ‖ h_{t-1} ‖ Merkle root over the rows of C_t)

Segments are there so that a GPU can hash one row with many threads. The head h_T binds every root, so a prover that is
asked for round t afterwards can show no other product than the one it had. Everything here is pure: secrets and nonces
come in as arguments.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256

from schemas.lazy_numpy import np
from schemas.nodes import Challenge, GpuOpening, GpuOpeningRequest, OpenedRound, OpenedRow, RoundRows

N_MIN = 32
GENESIS_LINK = bytes(32)
ROW_BLOCK = 512
SEGMENT_VALUES = 512
SEGMENT_BYTES = 4 * SEGMENT_VALUES
MATRIX_A, MATRIX_B = 0, 1


def check_size(n: int) -> None:
    """Raises ValueError unless n is a power of two ≥ 32: rows then fill generator blocks, and trees are full."""
    if n < N_MIN or n & (n - 1):
        raise ValueError(f"n = {n} is not a power of two of at least {N_MIN}")


def round_key(nonce: str, agent: str, gpu_uuid: str, round_: int, previous_link: bytes) -> bytes:
    """Derives the key of one round's matrices; every part is length-prefixed, so no two inputs read alike."""
    return prefixed_hash(bytes.fromhex(nonce), agent.encode(), gpu_uuid.encode(), str(round_).encode(), previous_link)


def prefixed_hash(*parts: bytes) -> bytes:
    """Hashes parts, each preceded by its length as 4 bytes, little endian."""
    return sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest()


def matrix_rows(key: bytes, matrix: int, n: int, first: int, count: int) -> np.ndarray:
    """Returns rows first…first+count-1 of A or B as INT8.

    Philox4x64-10 (Salmon et al., SC 2011) under key words k_t[0:8] and k_t[8:16], little endian; block i, 32 bytes, has
    counter (i + 1, 0, 0, matrix); words are laid out little endian, row after row; the value -128 becomes 0.
    """
    words = np.frombuffer(key[:16], dtype="<u8").astype(np.uint64)
    counter = np.array([first * n // 32, 0, 0, matrix], dtype=np.uint64)
    raw = np.random.Philox(key=words, counter=counter).random_raw(count * n // 8)
    values = raw.astype("<u8", copy=False).view(np.int8).reshape(count, n)
    values[values == -128] = 0
    return values


def leaf_hash(row: bytes) -> bytes:
    """Hashes one row of C (n INT32, little endian) as a leaf: over the hashes of its segments."""
    segments = (row[first : first + SEGMENT_BYTES] for first in range(0, len(row), SEGMENT_BYTES))
    return sha256(b"\x00" + b"".join(sha256(segment).digest() for segment in segments)).digest()


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Builds the tree over a power of two of leaves: leaves first, the root alone in the last level."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([_node_hash(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def merkle_path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """Returns the siblings of a leaf from the lowest level up."""
    return tuple(level[(index >> depth) ^ 1] for depth, level in enumerate(levels[:-1]))


def fold_path(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """Returns the root that a leaf and its siblings lead to."""
    node = leaf
    for sibling in path:
        node = _node_hash(sibling, node) if index & 1 else _node_hash(node, sibling)
        index >>= 1
    return node


def next_link(previous_link: bytes, root: bytes) -> bytes:
    """Returns h_t from h_{t-1} and the round's Merkle root."""
    return sha256(b"\x02" + previous_link + root).digest()


def links_of(roots: Sequence[bytes]) -> list[bytes]:
    """Returns h_0…h_T of a chain with these roots."""
    links = [GENESIS_LINK]
    for root in roots:
        links.append(next_link(links[-1], root))
    return links


def draw_opening(secret: bytes, challenge: Challenge, gpu_uuid: str, rounds: int, rows: int) -> GpuOpeningRequest:
    """Draws the rounds and rows to open of a GPU's chain; the same secret draws the same, so a retry is safe."""
    seed = sha256(b"draw" + secret + gpu_uuid.encode()).digest()
    drawn = _draw(seed, challenge.rounds, rounds)
    return GpuOpeningRequest(
        gpu_uuid=gpu_uuid,
        rounds=tuple(
            RoundRows(round=t + 1, rows=tuple(_draw(seed + t.to_bytes(4, "little"), challenge.n, rows))) for t in drawn
        ),
    )


def check_chain(
    challenge: Challenge, agent: str, head: str, asked: GpuOpeningRequest, opening: GpuOpening, secret: bytes
) -> str:
    """Judges one GPU's opening: "" where it holds, else the reason; a malformed one is a reason, not an error."""
    if opening.gpu_uuid != asked.gpu_uuid or len(opening.roots) != challenge.rounds:
        return "wrong_shape"
    links = links_of([bytes.fromhex(root) for root in opening.roots])
    if links[-1].hex() != head:
        return "head_differs"
    if tuple((opened.round, tuple(row.index for row in opened.rows)) for opened in opening.rounds) != tuple(
        (wanted.round, wanted.rows) for wanted in asked.rounds
    ):
        return "not_what_was_asked"
    for opened in opening.rounds:
        key = round_key(challenge.nonce, agent, asked.gpu_uuid, opened.round, links[opened.round - 1])
        reason = _check_round(key, challenge.n, bytes.fromhex(opening.roots[opened.round - 1]), opened, secret)
        if reason:
            return reason
    return ""


def operations_per_s(n: int, rounds: int, elapsed_us: int) -> int:
    """Scores a chain: T·2n³ operations over the time the server saw, less the round trip (at least 1 µs)."""
    return rounds * 2 * n**3 * 1_000_000 // max(elapsed_us, 1)


def expected_products(key: bytes, n: int, r: np.ndarray) -> np.ndarray:
    """Returns z = A·(B·r) modulo 2⁶⁴ without forming A·B; each true row of C then has row·r = its entry of z."""
    return _times_vector(key, MATRIX_A, n, _times_vector(key, MATRIX_B, n, r))


def secret_vector(secret: bytes, key: bytes, n: int) -> np.ndarray:
    """Draws r, n uniform 64-bit numbers: a wrong INT32 row passes with probability ≤ 2⁻³³ (an error is < 2³²)."""
    digest = sha256(b"freivalds" + secret + key).digest()
    words = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
    return np.random.Philox(key=words).random_raw(n).view(np.int64)


def _check_round(key: bytes, n: int, root: bytes, opened: OpenedRound, secret: bytes) -> str:
    depth = n.bit_length() - 1
    rows: list[bytes] = []
    for row in opened.rows:
        raw = _row_bytes(row, n)
        if raw is None or len(row.path) != depth or row.index >= n:
            return "wrong_shape"
        rows.append(raw)
        if fold_path(leaf_hash(raw), row.index, [bytes.fromhex(sibling) for sibling in row.path]) != root:
            return "path_differs"
    r = secret_vector(secret, key, n)
    expected = expected_products(key, n, r)[[row.index for row in opened.rows]]
    values = np.frombuffer(b"".join(rows), dtype="<i4").reshape(len(rows), n).astype(np.int64)
    return "" if np.array_equal(values @ r, expected) else "row_differs"


def _row_bytes(row: OpenedRow, n: int) -> bytes | None:
    try:
        raw = b64decode(row.values, validate=True)
    except ValueError:
        return None
    return raw if len(raw) == 4 * n else None


def _times_vector(key: bytes, matrix: int, n: int, vector: np.ndarray) -> np.ndarray:
    blocks = (matrix_rows(key, matrix, n, first, min(ROW_BLOCK, n)) for first in range(0, n, min(ROW_BLOCK, n)))
    return np.concatenate([block.astype(np.int64) @ vector for block in blocks])


def _draw(seed: bytes, population: int, count: int) -> list[int]:
    by_hash = sorted(range(population), key=lambda i: sha256(seed + i.to_bytes(4, "little")).digest())
    return sorted(by_hash[:count])


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
