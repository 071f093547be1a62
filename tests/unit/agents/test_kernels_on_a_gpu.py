"""The kernels on a real GPU, where there is one: the same bytes as on the CPU, a full memory, and all of it given back.

Elsewhere every test of this module is skipped. With a GPU: `pip install --no-deps -r infra/cuda.lock` first.
"""

import time

import pytest

from agents.node.challenge import NumpyBackend
from agents.node.errors import ProofFailed
from agents.node.proof.cuda import CudaBackend, CudaRun
from agents.node.proof.gpu import CudaGpu, Driver
from agents.node.proof.gpu_process import GpuProcess
from agents.node.proof.verify import lines_of, verify
from tests.unit.agents.test_kernels import LARGE_ENOUGH, answers

LEFT_BEHIND_MIB_MAX = 64


def gpus() -> list[str]:
    try:
        return Driver().uuids()
    except ProofFailed:
        return []


GPUS = gpus()
pytestmark = pytest.mark.skipif(not GPUS, reason="there is no GPU that CUDA opens: the kernels run on the CPU alone")
SIZES = [*LARGE_ENOUGH, LARGE_ENOUGH[0] | {"n": 2048, "rounds": 2, "stride": 1}]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("golden", SIZES, ids=lambda golden: f"n={golden['n']}")
def test_a_real_gpu_gives_the_bytes_of_the_cpu(gpu, golden):
    def on(name: str) -> GpuProcess:
        return GpuProcess(gpu)  # the vectors name a GPU of their own

    assert answers(CudaBackend(on), golden) == answers(NumpyBackend(), golden)


@pytest.mark.parametrize("gpu", GPUS)
def test_a_chain_that_was_released_leaves_nothing_in_the_gpu_s_memory(gpu):
    def free_mib() -> float:
        opened = CudaGpu(gpu)
        free, _ = opened.memory()
        opened.close()
        return free / 2**20

    before = free_mib()
    run = CudaBackend().begin(gpu, 1024, 8)
    assert isinstance(run, CudaRun)
    run.run_round(bytes(32))
    run.release()
    assert before - free_mib() < LEFT_BEHIND_MIB_MAX


def test_all_gpus_at_once_prove_chains_that_fill_95_percent_of_their_memory():
    began = time.monotonic()
    measured = verify("cuda", n=8192)
    print(*lines_of(measured), f"{time.monotonic() - began:.1f} s in all", sep="\n")
    assert [each.reason for each in measured] == [""] * len(GPUS)
