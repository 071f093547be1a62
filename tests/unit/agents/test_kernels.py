"""The kernels of the proof, run as C++ on the CPU: they give the golden bytes, and a kernel with a fault does not."""

import json
from pathlib import Path

import pytest

from agents.node.challenge import NumpyBackend, answer_residency, residency_paths, run_chain
from agents.node.proof.compiler import source
from agents.node.proof.cuda import CudaBackend
from schemas.challenge import draw_opening
from schemas.nodes import Challenge
from tests.fixtures.emulated_gpu import COMPILER, EmulatedGpu

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "proof.json").read_text())
LARGE_ENOUGH = [golden for golden in GOLDEN if golden["n"] >= 256]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: the kernels are not run")


def challenge_of(golden: dict) -> Challenge:
    return Challenge(
        challenge_id="c1",
        cause="idle",
        nonce=golden["nonce"],
        n=golden["n"],
        rounds=golden["rounds"],
        gpu_uuids=(golden["gpu_uuid"],),
        issued_ms=0,
        deadline_ms=60_000,
    )


def answers(backend, golden: dict) -> dict:
    """Everything that leaves a backend: head, roots, digest, opened rows with both of their paths."""
    challenge = challenge_of(golden)
    chain = run_chain(backend, challenge, golden["agent"], golden["gpu_uuid"])
    residency = answer_residency(chain, golden["agent"], golden["second_nonce"], golden["stride"])
    asked = draw_opening(b"secret", challenge, golden["gpu_uuid"], golden["rounds"], 8)
    opened = [chain.rounds[wanted.round - 1].open_row(index) for wanted in asked.rounds for index in wanted.rows]
    paths = residency_paths(chain, asked)
    roots = [round_.root.hex() for round_ in chain.rounds]
    chain.release()
    return {
        "head": chain.head.hex(),
        "roots": roots,
        "digest": residency.digest.hex(),
        "residency_roots": [root.hex() for root in residency.roots],
        "opened": opened,
        "paths": paths,
    }


@pytest.mark.parametrize("golden", LARGE_ENOUGH, ids=lambda golden: f"n={golden['n']}")
def test_the_kernels_give_the_golden_bytes_and_the_rows_and_paths_of_the_numpy_backend(golden):
    found = answers(CudaBackend(EmulatedGpu), golden)
    assert found == answers(NumpyBackend(), golden)
    assert {name: found[name] for name in ("head", "digest", "roots", "residency_roots")} == {
        "head": golden["head"],
        "digest": golden["digest"],
        "roots": [made["root"] for made in golden["made"]],
        "residency_roots": [made["residency_root"] for made in golden["made"]],
    }


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_in_which_threads_run_changes_nothing(order):
    backend = CudaBackend(lambda name: EmulatedGpu(name, order=order))
    assert answers(backend, LARGE_ENOUGH[0]) == answers(NumpyBackend(), LARGE_ENOUGH[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sound", "faulty"),
    [
        ("wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES - 1>();"),
        ("bytes & ~is_least", "bytes | is_least"),
        ("16 * m + of_eight % 2 * 8", "16 * m + of_eight / 2 * 8"),
        ("of_eight / 2 * 8 + in_eight", "of_eight % 2 * 8 + in_eight"),
        ("lane % 4 * 2;", "lane % 4;"),
        ("w[15] = 8 * (4 * count + 1);", "w[15] = 8 * (4 * count);"),
        ("i / 8 * stride", "i / 8"),
    ],
    ids=[
        "copies not waited for",
        "-128 kept",
        "A's fragment",
        "B's fragment",
        "C's place",
        "a hash's length",
        "stride",
    ],
)
def test_a_fault_in_a_kernel_shows_in_the_bytes(sound, faulty):
    kernels = source().decode()
    assert kernels.count(sound) == 1
    golden = LARGE_ENOUGH[0]
    backend = CudaBackend(lambda name: EmulatedGpu(name, kernels.replace(sound, faulty).encode()))
    assert answers(backend, golden) != answers(NumpyBackend(), golden)
