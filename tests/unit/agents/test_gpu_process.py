"""A GPU's own process: the same bytes through it, kept while all is well, replaced after any failure."""

import json
import os
import signal
from pathlib import Path

import pytest

from agents.node.challenge import NumpyBackend
from agents.node.errors import ProofFailed
from agents.node.processes import Owners
from agents.node.proof.compiler import is_installed, source
from agents.node.proof.cuda import CudaBackend
from agents.node.proof.gpu_process import GpuProcess, ProcessPool
from schemas.nodes import GpuProcess as SeenProcess
from tests.fixtures.emulated_gpu import COMPILER, compile_library
from tests.unit.agents.test_cuda_binding import ECC_UNCORRECTABLE, UUID
from tests.unit.agents.test_kernels import answers

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "proof.json").read_text())[1]
pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="no CUDA binding: pip install --no-deps -r infra/cuda.lock"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
]


@pytest.fixture(scope="module")
def driver_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    compile_library("driver.cpp", folder / "libcuda.so.1", source())
    return folder


@pytest.fixture
def pool(driver_folder, monkeypatch) -> ProcessPool:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver_folder))
    made = ProcessPool()
    made.prepare([UUID])
    yield made
    made.take().end()


def failure(work) -> str:
    with pytest.raises(ProofFailed) as caught:
        work()
    return str(caught.value)


def used(pool: ProcessPool) -> int:
    """Opens and closes the GPU; returns the number of the process that did it."""
    gpu = GpuProcess(UUID, pool)
    pid = gpu.pid
    assert gpu.memory() == (64 * 2**20, 64 * 2**20)
    gpu.close()
    gpu.close()
    assert gpu.pid is None and failure(gpu.memory) == f"{UUID} was closed"
    return pid


def test_a_chain_through_a_process_is_that_of_the_cpu_and_the_process_is_kept(pool):
    before = used(pool)
    assert answers(CudaBackend(lambda name: GpuProcess(UUID, pool)), GOLDEN) == answers(NumpyBackend(), GOLDEN)
    assert used(pool) == before


def test_a_gpu_s_fault_is_one_line_and_ends_its_process_alone(pool, monkeypatch):
    before = used(pool)
    monkeypatch.setenv("EMULATED_GPU_FAILS", f"cuMemcpyDtoH={ECC_UNCORRECTABLE}")
    gpu = GpuProcess(UUID, ProcessPool())
    assert failure(lambda: gpu.read(gpu.allocate(64), 64)) == (
        f"{UUID}: cuMemcpyDtoH answers CUDA_ERROR_ECC_UNCORRECTABLE"
    )
    pid = gpu.pid
    gpu.close()
    assert not Path(f"/proc/{pid}").exists()
    assert used(pool) == before


def test_a_launch_that_fails_is_told_by_the_next_call(pool):
    gpu = GpuProcess(UUID, pool)
    gpu.launch("no_such_kernel", 1, 256, ())
    assert failure(gpu.memory) == f"{UUID}: cuLaunchKernel answers CUDA_ERROR_NOT_FOUND"
    gpu.close()


def test_a_process_that_was_killed_is_one_line_and_the_next_chain_has_another(pool):
    gpu = GpuProcess(UUID, pool)
    pid = gpu.pid
    os.kill(pid, signal.SIGKILL)
    assert failure(gpu.memory) == f"{UUID}: the process that works on the GPU ended (signal 9)"
    gpu.close()
    assert used(pool) != pid


def test_a_driver_that_hangs_is_waited_for_within_a_bound(pool, monkeypatch):
    monkeypatch.setenv("EMULATED_GPU_HANGS", "cuMemGetInfo")
    gpu = GpuProcess(UUID, ProcessPool(), answer_s_max=5.0)
    pid = gpu.pid
    gpu._answer_s_max = 0.2
    assert failure(gpu.memory) == f"{UUID}: the driver gave no answer within 0.2 s"
    gpu.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_gpu_that_is_not_there_and_a_driver_that_is_missing_are_told_before_any_challenge(pool, monkeypatch):
    assert failure(lambda: ProcessPool().prepare(["GPU-00000009"])) == (
        f"CUDA lists no GPU-00000009, but {UUID}: is CUDA_VISIBLE_DEVICES set?"
    )
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert failure(lambda: ProcessPool().prepare([UUID])).startswith("the CUDA driver is missing or too old: ")


def test_the_process_is_no_stranger_on_the_gpu(pool):
    gpu = GpuProcess(UUID, pool)
    labelled = Owners().label(SeenProcess(pid=gpu.pid, memory_mib=77_000, kind="compute"), ())
    gpu.close()
    assert labelled.owner == "other"
