"""The CUDA backend: all products of a chain stay in the GPU's memory; roots, opened rows and their paths leave it."""

import ctypes
from collections.abc import Callable

from agents.node.errors import ProofFailed
from agents.node.proof.gpu import Gpu
from agents.node.proof.gpu_process import GpuProcess
from schemas.challenge import SEGMENT_VALUES, check_size
from schemas.residency import fold_words

# A tile of the product is 128×256, and a launch of one thread for each row fills a block.
N_MIN = 256
TILE_M, TILE_N = 128, 256
THREADS = 256
SHARED_BYTES = 3 * 4 * 16 * (TILE_M + TILE_N)
LEVELS_OF_LAUNCH = 9
HASH_BYTES = 32
WARP = 32
MIB = 2**20

u32, u64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p


def tree_bytes(n: int) -> int:
    """Returns what a Merkle tree over n leaves takes: all its levels, each rounded up to a whole hash."""
    return 2 * n * HASH_BYTES


def round_bytes(n: int) -> int:
    """Returns what one round takes until it is opened: n² INT32, the tree of its rows and that of their folds."""
    return 4 * n * n + 2 * tree_bytes(n)


def scratch_bytes(n: int) -> int:
    """Returns what all rounds share: A, B, and the hashes of one product's segments."""
    return 2 * n * n + n * _segments_of_row(n) * HASH_BYTES


def rounds_that_fit(memory_bytes: int, n: int) -> int:
    """Returns how many rounds fit into so much memory."""
    return max(0, (memory_bytes - scratch_bytes(n)) // round_bytes(n))


class CudaBackend:
    """Runs chains on the GPUs of this machine. `open_gpu` opens one by its UUID or PCI address."""

    name = "cuda"

    def __init__(self, open_gpu: Callable[[str], Gpu] = GpuProcess) -> None:
        self._open_gpu = open_gpu

    def begin(self, gpu_uuid: str, n: int, rounds: int) -> "CudaRun":
        """Takes the memory for all rounds. Raises ProofFailed where they do not fit, or the GPU cannot be used."""
        check_size(n)
        if n < N_MIN:
            raise ProofFailed(f"n = {n} is too small for the CUDA backend: {N_MIN} at least")
        gpu = self._open_gpu(gpu_uuid)
        try:
            free, total = gpu.memory()
            needed = scratch_bytes(n) + rounds * round_bytes(n)
            if needed > free:
                fit = rounds_that_fit(free, n)
                raise ProofFailed(
                    f"{gpu_uuid}: {rounds} rounds at n = {n} take {needed / MIB:.1f} MiB, and {free / MIB:.1f} of "
                    f"{total / MIB:.1f} MiB are free: {fit} would fit"
                )
            return CudaRun(gpu, n, rounds)
        except BaseException:
            gpu.close()
            raise


class CudaRun:
    """The rounds of one chain in a GPU's memory."""

    def __init__(self, gpu: Gpu, n: int, rounds: int) -> None:
        self.gpu, self.n = gpu, n
        self._left = rounds
        self._a = gpu.allocate(n * n)
        self._b = gpu.allocate(n * n)
        self._segments = gpu.allocate(n * _segments_of_row(n) * HASH_BYTES)
        self._next = gpu.allocate(rounds * round_bytes(n))

    def run_round(self, key: bytes) -> "CudaRound":
        """Runs one round. Raises ProofFailed where the GPU fails, or all rounds that it was begun for are done."""
        if not self._left:
            raise ProofFailed("the chain was begun for fewer rounds")
        gpu, n, product = self.gpu, self.n, self._next
        self._left -= 1
        self._next += round_bytes(n)
        tree = product + 4 * n * n
        words = [u64(int.from_bytes(key[first : first + 8], "little")) for first in (0, 8)]
        segments = _segments_of_row(n)
        gpu.launch("generate_a", n * n // 32 // THREADS, THREADS, (pointer(self._a), u32(n), *words))
        gpu.launch("generate_b", n * n // 128 // THREADS, THREADS, (pointer(self._b), u32(n), *words))
        blocks = (n // TILE_M) * (n // TILE_N)
        matrices = (pointer(self._a), pointer(self._b), pointer(product), u32(n))
        gpu.launch("multiply", blocks, THREADS, matrices, SHARED_BYTES)
        of_segments = (pointer(product), pointer(self._segments), u32(min(n, SEGMENT_VALUES)))
        gpu.launch("hash_segments", n * segments // THREADS, THREADS, of_segments)
        gpu.launch("hash_leaves", n // THREADS, THREADS, (pointer(self._segments), pointer(tree), u32(segments)))
        hash_tree(gpu, tree, n)
        return CudaRound(self, product)

    def release(self) -> None:
        """Frees the memory."""
        self.gpu.close()


class CudaRound:
    """A finished round, which lies in the GPU's memory."""

    def __init__(self, run: CudaRun, product: int) -> None:
        self._run, self._product = run, product
        self._tree = product + 4 * run.n**2
        self._residency_tree = self._tree + tree_bytes(run.n)
        self._read: dict[int, bytes] = {}
        self.root = self._root(self._tree)

    def open_row(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns a row and its path."""
        row_bytes = 4 * self._run.n
        return self._run.gpu.read(self._product + index * row_bytes, row_bytes), self._path(self._tree, index)

    def fold(self, key: bytes, number: int, stride: int) -> None:
        """Begins to fold all rows: waiting for each round would leave the GPU idle between them."""
        gpu, n = self._run.gpu, self._run.n
        words = [u64(word) for word in fold_words(key, number)]
        arguments = (pointer(self._product), pointer(self._residency_tree), u32(n), u32(stride), *words)
        gpu.launch("fold_rows", n * WARP // THREADS, THREADS, arguments)
        hash_tree(gpu, self._residency_tree, n)
        self._read.pop(self._residency_tree, None)

    def residency_root(self) -> bytes:
        """Returns the root over the folds."""
        return self._root(self._residency_tree)

    def residency_path(self, index: int) -> tuple[bytes, ...]:
        """Returns a row's path in the residency tree."""
        return self._path(self._residency_tree, index)

    def _root(self, tree: int) -> bytes:
        return self._run.gpu.read(tree + (2 * self._run.n - 2) * HASH_BYTES, HASH_BYTES)

    def _path(self, tree: int, index: int) -> tuple[bytes, ...]:
        """Reads the tree of an opened round once: half a megabyte at n = 8192, in place of 13 copies for each row."""
        nodes = self._read.get(tree)
        if nodes is None:
            nodes = self._read[tree] = self._run.gpu.read(tree, tree_bytes(self._run.n))
        path, level, width = [], 0, self._run.n
        while width > 1:
            place = (level + (index ^ 1)) * HASH_BYTES
            path.append(nodes[place : place + HASH_BYTES])
            level, width, index = level + width, width // 2, index // 2
        return tuple(path)


def hash_tree(gpu: Gpu, tree: int, n: int) -> None:
    """Hashes all levels above the leaves of a tree."""
    for level in range(0, n.bit_length() - 1, LEVELS_OF_LAUNCH):
        blocks = max(1, (n >> level) // (2 * THREADS))
        gpu.launch("hash_levels", blocks, THREADS, (pointer(tree), u32(n), u32(level)))


def _segments_of_row(n: int) -> int:
    return max(1, n // SEGMENT_VALUES)
