"""Compiles the kernels of the proof for one kind of GPU, by NVRTC; needs no GPU.

`python -m agents.node.proof.compiler MAJOR MINOR` writes them to its output; the agent calls it that way.
"""

import os
import subprocess
import sys
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from agents.node.errors import ProofFailed

EXTRA = "pip install 'hourbook-agent[cuda]'"
SOURCE = "chain.cu"
# The tensor cores' instruction for this shape of INT8 came with compute capability 8.0.
CAPABILITY_MIN = 8, 0
COMPILE_S_MAX = 300
ROOT = Path(__file__).parents[3]


def is_installed() -> bool:
    """Says whether the CUDA backend's packages are there; whether a driver is, they do not tell."""
    return find_spec("cuda") is not None and find_spec("cuda.bindings") is not None


def source() -> bytes:
    """Returns the kernels' text."""
    return files("agents.node.proof").joinpath(SOURCE).read_bytes()


@cache
def compile_kernels(major: int, minor: int) -> bytes:
    """Returns the kernels as a cubin for a compute capability, such as 9.0; takes seconds the first time.

    A process of its own compiles: NVRTC keeps 100 MB for good, and a fault in it ends nothing else. Raises ProofFailed
    where the capability is below 8.0, NVRTC is not installed, or it does not know the capability.
    """
    path = os.environ.get("PYTHONPATH")
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(major), str(minor)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)},
            capture_output=True,
            timeout=COMPILE_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise ProofFailed(f"NVRTC does not end within {COMPILE_S_MAX} s for sm_{major}{minor}") from None
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        raise ProofFailed(said[-1] if said else f"NVRTC ends with status {ended.returncode} for sm_{major}{minor}")
    return ended.stdout


def compile_here(major: int, minor: int) -> bytes:
    """Compiles in this process; as `compile_kernels` else."""
    if (major, minor) < CAPABILITY_MIN:
        raise ProofFailed(f"compute capability {major}.{minor} is too old for the proof: it needs 8.0 or later")
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise ProofFailed(f"the CUDA backend of the proof is not installed: {EXTRA}") from None

    def call(function, *arguments) -> tuple:
        try:
            status, *results = function(*arguments)
        except Exception as error:  # the binding raises what it likes where it does not find the library
            raise ProofFailed(f"NVRTC cannot be loaded ({_first_line(error)}): {EXTRA}") from None
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise ProofFailed(f"NVRTC cannot compile the proof for sm_{major}{minor}: {status.name}")
        return tuple(results)

    (program,) = call(nvrtc.nvrtcCreateProgram, source(), SOURCE.encode(), 0, [], [])
    options = [f"--gpu-architecture=sm_{major}{minor}".encode(), b"--std=c++17"]
    try:
        call(nvrtc.nvrtcCompileProgram, program, len(options), options)
        (size,) = call(nvrtc.nvrtcGetCUBINSize, program)
        cubin = bytes(size)
        call(nvrtc.nvrtcGetCUBIN, program, cubin)
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def main() -> int:
    """Compiles for the capability of the command line; an error is one line, and exit status 1."""
    try:
        sys.stdout.buffer.write(compile_here(int(sys.argv[1]), int(sys.argv[2])))
    except ProofFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
