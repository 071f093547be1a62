"""NVIDIA's own binding and compiler against a stand-in for the driver, whose GPU runs the kernels on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.node.proof.compiler import is_installed, source
from tests.fixtures.emulated_gpu import COMPILER, compile_library

UUID = "GPU-11111111-2222-3333-4444-555555555555"
PCI_ADDRESS = "0000:18:00.0"
ECC_UNCORRECTABLE = 214
pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="no CUDA binding: pip install --no-deps -r infra/cuda.lock"),
    pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="no C++ compiler on Linux"),
]


@pytest.fixture(scope="module")
def driver_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    compile_library("driver.cpp", folder / "libcuda.so.1", source())
    return folder


@pytest.fixture
def verify(driver_folder):
    def run(*options: str, **variables: str) -> tuple[int, str]:
        """Runs `hourbook-agent verify`; returns its exit status and its last line."""
        environment = os.environ | {"LD_LIBRARY_PATH": str(driver_folder)} | variables
        command = [sys.executable, "-m", "agents.node", "verify", *options]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return ended.returncode, (ended.stdout + ended.stderr).strip().splitlines()[-1]

    return run


def test_a_chain_is_proven_by_the_binding_and_the_kernels_of_the_compiler_at_hand(verify):
    status, line = verify("-n", "256", "--rounds", "2")
    assert (status, line.split("; ")[0]) == (0, f"{UUID} by cuda: proven")
    status, line = verify("-n", "512", "--rounds", "1", "--gpu", PCI_ADDRESS)
    assert (status, line.split("; ")[0]) == (0, f"{UUID} by cuda: proven")


@pytest.mark.parametrize(
    ("options", "variables", "line"),
    [
        (
            ["--rounds", "99"],
            {},
            f"{UUID}: 99 rounds at n = 512 take 105.7 MiB, and 64.0 of 64.0 MiB are free: 59 would fit",
        ),
        (["--gpu", "GPU-00000009"], {}, f"CUDA lists no GPU-00000009, but {UUID}: is CUDA_VISIBLE_DEVICES set?"),
        (
            ["--gpu", "0000:19:00.0"],
            {},
            "0000:19:00.0: cuDeviceGetByPCIBusId answers CUDA_ERROR_INVALID_VALUE",
        ),
        (
            ["--rounds", "1"],
            {"EMULATED_GPU_FAILS": f"cuMemcpyDtoH={ECC_UNCORRECTABLE}"},
            f"{UUID}: cuMemcpyDtoH answers CUDA_ERROR_ECC_UNCORRECTABLE",
        ),
        (
            ["--rounds", "1"],
            {"EMULATED_GPU_FAILS": "cuMemAlloc=54321"},
            f"{UUID}: cuMemAlloc: 54321 is not a valid CUresult",
        ),
        (
            ["--rounds", "1"],
            {"EMULATED_GPU_LACKS": "cuDeviceGetUuid"},
            "the CUDA driver is missing or too old: function cuDeviceGetUuid_v2 is not found",
        ),
    ],
    ids=["no room", "another UUID", "another address", "a lost GPU", "a status without a name", "a call too new"],
)
def test_what_keeps_a_gpu_from_being_proven_is_one_line(verify, options, variables, line):
    status, said = verify("-n", "512", *options, **variables)
    assert (status, said.partition(" ERROR ")[2]) == (1, line)
