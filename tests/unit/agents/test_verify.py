"""`hourbook-agent verify`: a chain on this machine, its figures, and one line where it cannot run."""

import json

import pytest

from agents.node.cli import main
from agents.node.errors import ProofFailed
from agents.node.proof import verify as verify_module
from agents.node.proof.cuda import round_bytes, scratch_bytes
from agents.node.proof.gpu import CudaGpu
from agents.node.proof.verify import lines_of, measure, verify
from tests.fakes.cheats import HalfDepth
from tests.fakes.cuda_driver import PCI_ADDRESSES, UUIDS, ScriptedDriver, bind
from tests.fixtures.emulated_gpu import COMPILER

CPU = "GPU-00000000"
runs_kernels = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: the kernels are not run")


def test_the_cpu_proves_itself_and_its_figures_follow_from_its_time():
    (measured,) = verify("numpy", n=64, rounds=3)
    assert (measured.gpu_uuid, measured.backend, measured.reason) == (CPU, "numpy", "")
    assert (measured.n, measured.rounds, measured.stride, measured.filled_bytes) == (64, 3, 8, 3 * 4 * 64 * 64)
    assert measured.operations_per_s == pytest.approx(3 * 2 * 64**3 / measured.chain_s)
    assert measured.power_w is None
    assert lines_of([measured])[0].startswith("CPU by numpy: proven; n = 64, 3 rounds in ")


def test_runs_are_repeated_and_power_is_energy_over_the_time_of_the_chain(monkeypatch):
    counter = iter(range(0, 10**9, 5000))
    monkeypatch.setattr(verify_module, "_energy_mj", lambda gpu_uuid: next(counter))
    measured = verify("numpy", n=64, rounds=1, repeat=2)
    assert [each.power_w for each in measured] == [pytest.approx(5 / each.chain_s) for each in measured]
    assert " W, 0 MiB filled" in lines_of(measured)[1]


def test_a_backend_that_saves_work_is_not_called_proven():
    measured = measure(HalfDepth(), CPU, 64, 4)
    assert measured.reason == "row_differs"
    assert lines_of([measured])[0].startswith("CPU by half depth: row_differs; ")


@runs_kernels
def test_a_gpu_is_filled_to_95_percent_and_all_gpus_run_by_default(monkeypatch):
    total = scratch_bytes(256) + 10 * round_bytes(256)
    driver = ScriptedDriver(memory_bytes=total)
    bind(monkeypatch, driver)
    measured = verify("cuda", n=256, stride=4, open_gpu=CudaGpu)
    assert [(each.gpu_uuid, each.rounds, each.reason) for each in measured] == [(uuid, 10, "") for uuid in UUIDS]
    assert sorted(driver.released) == sorted(driver.retained) == [0, 0, 1, 1]


@runs_kernels
def test_one_gpu_is_chosen_by_its_pci_address_and_named_by_its_uuid(monkeypatch):
    bind(monkeypatch, ScriptedDriver())
    measured = verify("cuda", [PCI_ADDRESSES[1], UUIDS[1]], n=256, rounds=1, open_gpu=CudaGpu)
    assert [each.gpu_uuid for each in measured] == [UUIDS[1]]


@runs_kernels
def test_a_gpu_without_room_for_one_round_is_one_line(monkeypatch):
    bind(monkeypatch, ScriptedDriver(memory_bytes=round_bytes(256)))
    with pytest.raises(ProofFailed) as caught:
        verify("cuda", [UUIDS[0]], n=256, open_gpu=CudaGpu)
    assert str(caught.value) == f"{UUIDS[0]}: not one round at n = 256 fits into 0.3 MiB of free memory"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["-n", "100"], "n = 100 is not a power of two of at least 32"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--repeat", "0"], "--repeat must be at least 1"),
        (["--stride", "3"], "stride = 3 is not a power of two from 1 to 128"),
    ],
)
def test_a_wrong_number_is_one_line_and_exit_status_1(options, line, capsys):
    assert main(["verify", "--backend", "numpy", *options]) == 1
    assert capsys.readouterr().err.endswith(f" ERROR {line}\n")


def test_the_command_prints_a_line_or_a_document(capsys):
    assert main(["verify", "--backend", "numpy", "-n", "64", "--rounds", "1"]) == 0
    assert capsys.readouterr().out.startswith("CPU by numpy: proven; n = 64, 1 rounds in ")
    assert main(["verify", "--backend", "numpy", "-n", "64", "--rounds", "1", "--json"]) == 0
    (gpu,) = json.loads(capsys.readouterr().out)["gpus"]
    assert (gpu["gpu_uuid"], gpu["n"], gpu["rounds"], gpu["reason"]) == (CPU, 64, 1, "")


def test_without_numpy_it_is_one_line_before_any_work(monkeypatch):
    monkeypatch.setattr(verify_module, "find_spec", lambda name: None)
    with pytest.raises(
        ProofFailed, match=r"^verify judges rows as a venue does, with NumPy: pip install 'hourbook-agent"
    ):
        verify("cuda")


def test_without_the_packages_the_command_says_what_to_install(monkeypatch, capsys):
    bind(monkeypatch, None)
    assert main(["verify"]) == 1
    line = "the CUDA backend of the proof is not installed: pip install 'hourbook-agent[cuda]'"
    assert capsys.readouterr().err.endswith(f" ERROR {line}\n")
