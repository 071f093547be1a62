"""The CUDA backend on a scripted driver: which GPU, how much memory, and one line for every failure."""

import json
from pathlib import Path

import pytest

from agents.node.challenge import Chain, NumpyBackend, answer_residency, run_chain
from agents.node.doctor.proof import examine_proof
from agents.node.errors import ProofFailed
from agents.node.proof.choice import choose_backend
from agents.node.proof.compiler import compile_here
from agents.node.proof.cuda import CudaBackend, round_bytes, rounds_that_fit, scratch_bytes
from agents.node.proof.gpu import CudaGpu, Driver
from schemas.nodes import Challenge
from tests.fakes.cuda_driver import PCI_ADDRESSES, UUIDS, ScriptedDriver, Status, bind
from tests.fixtures.emulated_gpu import COMPILER

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "proof.json").read_text())[1]
N, ROUNDS = GOLDEN["n"], GOLDEN["rounds"]
INSTALL = "the CUDA backend of the proof is not installed: pip install 'hourbook-agent[cuda]'"
runs_kernels = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: the kernels are not run")


@pytest.fixture
def driver(monkeypatch) -> ScriptedDriver:
    scripted = ScriptedDriver()
    bind(monkeypatch, scripted)
    return scripted


def challenge(rounds: int = ROUNDS, n: int = N) -> Challenge:
    return Challenge(
        challenge_id="c1",
        cause="idle",
        nonce=GOLDEN["nonce"],
        n=n,
        rounds=rounds,
        gpu_uuids=(UUIDS[1],),
        issued_ms=0,
        deadline_ms=60_000,
    )


def run(gpu: str = UUIDS[1], rounds: int = ROUNDS, n: int = N) -> Chain:
    return run_chain(CudaBackend(CudaGpu), challenge(rounds, n), GOLDEN["agent"], gpu)


def failure(**parts) -> str:
    with pytest.raises(ProofFailed) as caught:
        run(**parts)
    return str(caught.value)


@runs_kernels
def test_a_chain_by_the_driver_of_the_gpu_with_this_uuid_is_that_of_the_numpy_backend(driver):
    chain = run()
    plain = run_chain(NumpyBackend(), challenge(), GOLDEN["agent"], UUIDS[1])
    assert chain.head == plain.head
    answers = [answer_residency(each, GOLDEN["agent"], GOLDEN["second_nonce"], 4) for each in (chain, plain)]
    assert answers[0] == answers[1]
    assert (driver.retained, driver.released) == ([1], [])
    chain.release()
    chain.release()
    assert (driver.retained, driver.released) == ([1], [1])
    with pytest.raises(ProofFailed, match=f"{UUIDS[1]} was closed"):
        chain.rounds[0].open_row(0)


@runs_kernels
def test_a_gpu_is_found_by_its_pci_address_too_whatever_the_order(driver):
    run(gpu=PCI_ADDRESSES[1]).release()
    run(gpu=UUIDS[0]).release()
    assert driver.retained == driver.released == [1, 0]


@runs_kernels
def test_the_product_asks_for_the_shared_memory_that_it_needs(driver):
    run().release()
    assert driver.shared_bytes == {"multiply": 3 * 24 * 1024}


def test_a_gpu_that_cuda_does_not_list_is_named_beside_those_that_it_does(driver):
    assert failure(gpu="GPU-00000009") == (
        f"CUDA lists no GPU-00000009, but {UUIDS[0]}, {UUIDS[1]}: is CUDA_VISIBLE_DEVICES set?"
    )
    assert failure(gpu="00000000:99:00.0") == "00000000:99:00.0: cuDeviceGetByPCIBusId answers CUDA_ERROR_INVALID_VALUE"
    assert driver.retained == []


@runs_kernels
def test_rounds_that_do_not_fit_are_refused_before_any_work_with_how_many_would(monkeypatch):
    driver = ScriptedDriver(memory_bytes=scratch_bytes(N) + 5 * round_bytes(N), taken_bytes=2 * round_bytes(N))
    bind(monkeypatch, driver)
    assert failure(rounds=4) == (
        f"{UUIDS[1]}: 4 rounds at n = 256 take 1.3 MiB, and 1.0 of 1.5 MiB are free: 3 would fit"
    )
    assert driver.released == [1]
    run(rounds=3).release()


def test_what_fits_at_n_8192_into_the_memory_of_real_gpus():
    # One round: 256 MiB of INT32 and a mebibyte of trees; scratch: A and B with 64 MiB each, 4 MiB of hashes.
    assert (round_bytes(8192), scratch_bytes(8192)) == (257 * 2**20, 132 * 2**20)
    assert [rounds_that_fit(gib * 2**30, 8192) for gib in (0, 24, 80, 141)] == [0, 95, 318, 561]


def test_too_small_an_n_is_refused(driver):
    assert failure(n=128) == "n = 128 is too small for the CUDA backend: 256 at least"


@runs_kernels
@pytest.mark.parametrize(
    ("call", "status", "after", "line"),
    [
        ("cuInit", Status.CUDA_ERROR_NO_DEVICE, 0, "CUDA: cuInit answers CUDA_ERROR_NO_DEVICE"),
        (
            "cuDevicePrimaryCtxRetain",
            Status.CUDA_ERROR_DEVICE_UNAVAILABLE,
            0,
            f"{UUIDS[1]}: cuDevicePrimaryCtxRetain answers CUDA_ERROR_DEVICE_UNAVAILABLE: another process has it "
            "alone, or its compute mode forbids it",
        ),
        (
            "cuModuleLoadData",
            Status.CUDA_ERROR_INVALID_IMAGE,
            0,
            f"{UUIDS[1]}: cuModuleLoadData answers CUDA_ERROR_INVALID_IMAGE: a driver below 580 needs "
            "hourbook-agent[cuda12] in place of [cuda]",
        ),
        (
            "cuMemAlloc",
            Status.CUDA_ERROR_OUT_OF_MEMORY,
            3,
            f"{UUIDS[1]}: cuMemAlloc answers CUDA_ERROR_OUT_OF_MEMORY: something else has taken memory of this GPU",
        ),
        (
            "cuLaunchKernel",
            Status.CUDA_ERROR_ECC_UNCORRECTABLE,
            4,
            f"{UUIDS[1]}: cuLaunchKernel answers CUDA_ERROR_ECC_UNCORRECTABLE",
        ),
        (
            "cuMemcpyDtoH",
            Status.CUDA_ERROR_ILLEGAL_ADDRESS,
            1,
            f"{UUIDS[1]}: cuMemcpyDtoH answers CUDA_ERROR_ILLEGAL_ADDRESS",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("cu") else "",
)
def test_a_call_that_fails_is_one_line_and_leaves_nothing_held(driver, call, status, after, line):
    driver.fails[call], driver.after[call] = status, after
    assert failure() == line
    assert driver.released == driver.retained
    del driver.fails[call]
    run().release()


@runs_kernels
def test_a_gpu_that_is_lost_between_commit_and_opening_is_one_line(driver):
    chain = run()
    driver.fails["cuMemcpyDtoH"] = Status.CUDA_ERROR_ECC_UNCORRECTABLE
    with pytest.raises(ProofFailed, match=f"^{UUIDS[1]}: cuMemcpyDtoH answers CUDA_ERROR_ECC_UNCORRECTABLE$"):
        answer_residency(chain, GOLDEN["agent"], GOLDEN["second_nonce"], 4)
    chain.release()
    assert driver.released == [1]


def test_without_the_binding_or_the_driver_it_says_what_is_missing(monkeypatch):
    bind(monkeypatch, None)
    assert failure() == INSTALL

    class NoDriver(ScriptedDriver):
        def cuInit(self, flags: int) -> tuple:
            raise RuntimeError("libcuda.so.1 is not there\nand more")

    bind(monkeypatch, NoDriver())
    with pytest.raises(ProofFailed, match=r"^the CUDA driver is missing or too old: libcuda\.so\.1 is not there$"):
        Driver()


def test_a_gpu_older_than_the_instruction_is_refused_and_nvrtc_is_named_where_it_is_missing(monkeypatch):
    with pytest.raises(
        ProofFailed, match=r"^compute capability 7\.5 is too old for the proof: it needs 8\.0 or later$"
    ):
        compile_here(7, 5)
    bind(monkeypatch, None)
    with pytest.raises(ProofFailed) as caught:
        compile_here(9, 0)
    assert str(caught.value) == INSTALL


def test_simulated_gpus_are_proven_by_the_cpu_and_real_ones_only_by_cuda(caplog):
    asked = []

    def broken(uuids) -> None:
        raise ProofFailed(INSTALL)

    assert choose_backend(True, UUIDS, asked.append).name == "numpy"
    assert choose_backend(False, UUIDS, asked.append).name == "cuda"
    assert (asked, caplog.messages) == ([UUIDS], [])
    assert choose_backend(False, UUIDS, broken).name == "cuda"
    assert caplog.messages == [f"these GPUs cannot be proven, and nothing is sold until they are: {INSTALL}"]


def test_the_doctor_says_whether_the_gpus_can_be_proven():
    asked = []

    def broken(uuids) -> None:
        raise ProofFailed(INSTALL)

    def told(prepare, simulated: bool = False) -> list[tuple[str, str]]:
        gpus = [{"identity": {"uuid": uuid}, "lost": uuid == "GPU-9"} for uuid in (*UUIDS, "GPU-9")]
        answer = {"system": {"simulated": simulated}, "gpus": gpus}
        return [(finding.verdict, finding.words) for finding in examine_proof(answer, prepare)]

    assert told(broken, simulated=True) == [("ok", "the GPUs are simulated: the CPU proves them")]
    assert told(asked.append) == [("ok", "CUDA opens 2 GPUs, and the kernels compile; hourbook-agent verify runs them")]
    assert asked == [list(UUIDS)]
    assert told(broken) == [("mend", f"the GPUs cannot be proven: {INSTALL}")]
