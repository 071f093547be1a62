"""NVRTC compiles the kernels for every kind of data-center GPU that is listed, without one being there."""

from importlib.util import find_spec

import pytest

from agents.node.errors import ProofFailed
from agents.node.proof.compiler import compile_kernels, is_installed

KERNELS = (b"generate_a", b"generate_b", b"multiply", b"hash_segments", b"hash_leaves", b"hash_levels", b"fold_rows")
HAS_NVRTC = is_installed() and find_spec("nvidia") is not None
pytestmark = pytest.mark.skipif(not HAS_NVRTC, reason="no NVRTC: pip install --no-deps -r infra/cuda.lock")


@pytest.mark.parametrize(("major", "minor"), [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_the_kernels_compile_to_a_cubin_with_all_of_them(major, minor):
    cubin = compile_kernels(major, minor)
    assert cubin.startswith(b"\x7fELF")
    assert [kernel for kernel in KERNELS if b".text." + kernel not in cubin] == []


def test_a_capability_that_nvrtc_does_not_know_is_one_line():
    with pytest.raises(ProofFailed, match=r"^NVRTC cannot compile the proof for sm_777: NVRTC_ERROR_"):
        compile_kernels(77, 7)
