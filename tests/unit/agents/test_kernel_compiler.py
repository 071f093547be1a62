"""NVRTC compiles the kernels for every kind of data-center GPU that is listed, without one being there."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from agents.node.errors import ProofFailed
from agents.node.proof.compiler import compile_kernels, is_installed

KERNELS = (b"generate_a", b"generate_b", b"multiply", b"hash_segments", b"hash_leaves", b"hash_levels", b"fold_rows")
HAS_NVRTC = is_installed() and find_spec("nvidia") is not None
pytestmark = pytest.mark.skipif(not HAS_NVRTC, reason="no NVRTC: pip install --no-deps -r infra/cuda.lock")


def resident_mib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize(("major", "minor"), [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_the_kernels_compile_to_a_cubin_with_all_of_them(major, minor):
    cubin = compile_kernels(major, minor)
    assert cubin.startswith(b"\x7fELF")
    assert [kernel for kernel in KERNELS if b".text." + kernel not in cubin] == []


def test_the_process_that_compiles_keeps_its_memory_to_itself():
    before = resident_mib()
    compile_kernels.cache_clear()
    compile_kernels(9, 0)
    assert resident_mib() - before < 20


def test_a_capability_that_nvrtc_does_not_know_is_one_line():
    with pytest.raises(ProofFailed, match=r"^NVRTC cannot compile the proof for sm_777: NVRTC_ERROR_"):
        compile_kernels(77, 7)
    with pytest.raises(ProofFailed, match=r"^compute capability 7\.5 is too old"):
        compile_kernels(7, 5)
