"""Runs the proof on this machine without a venue, and measures it: speed, memory filled, residency, opening."""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

import pynvml

from agents.node.challenge import Backend, Chain, NumpyBackend, answer_residency, open_chain, residency_paths, run_chain
from agents.node.errors import ProofFailed
from agents.node.proof.cuda import CudaBackend, rounds_that_fit
from agents.node.proof.gpu import Driver, Gpu
from agents.node.proof.gpu_process import POOL, GpuProcess
from schemas.challenge import check_chain, check_size, draw_opening
from schemas.nodes import Challenge, GpuOpeningRequest
from schemas.residency import SECTOR_WORDS, SampledRow, check_residency, check_stride, residency_key

AGENT = "verify"
# What stands for the CPU where a GPU's UUID belongs.
CPU = "GPU-00000000"
N, CPU_N, CPU_ROUNDS = 8192, 1024, 4
OPEN_ROUNDS, OPEN_ROWS = 4, 64
STRIDE = 8
# The share of a GPU's memory that a venue's chain is to fill.
FILL = 0.95
Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured:
    """One GPU's run; `reason` is empty where the proof held. Times are this machine's own, so no venue heeds them.

    `power_w` is the mean over the chain by NVML's energy counter; None where there is none.
    """

    gpu_uuid: str
    backend: str
    n: int
    rounds: int
    stride: int
    chain_s: float
    power_w: float | None
    operations_per_s: float
    filled_bytes: int
    residency_s: float
    opening_s: float
    reason: str


def verify(
    backend_name: str,
    gpus: Sequence[str] = (),
    n: int | None = None,
    rounds: int | None = None,
    stride: int = STRIDE,
    repeat: int = 1,
    open_gpu: Callable[[str], Gpu] = GpuProcess,
) -> list[Measured]:
    """Runs one chain on each GPU (UUIDs or PCI addresses; all that CUDA lists by default), all at the same time.

    Without `rounds` a chain fills 95 % of the GPU's memory. All of it is done `repeat` times. Raises ProofFailed where
    a number is wrong or a chain cannot run.
    """
    if find_spec("numpy") is None:
        raise ProofFailed("verify judges rows as a venue does, with NumPy: pip install 'hourbook-agent[cpu-proof]'")
    on_cpu = backend_name == NumpyBackend.name
    n = n or (CPU_N if on_cpu else N)
    try:
        check_size(n)
        check_stride(n, min(stride, n // SECTOR_WORDS))
    except ValueError as error:
        raise ProofFailed(str(error)) from None
    for name, number in (("--rounds", rounds), ("--repeat", repeat)):
        if number is not None and number < 1:
            raise ProofFailed(f"{name} must be at least 1")
    backend = NumpyBackend() if on_cpu else CudaBackend(open_gpu)
    uuids = [CPU] if on_cpu else _uuids(gpus)
    if open_gpu is GpuProcess and not on_cpu:
        POOL.prepare(uuids)
    wanted = {uuid: rounds or (CPU_ROUNDS if on_cpu else rounds_to_fill(uuid, n, open_gpu)) for uuid in uuids}
    with ThreadPoolExecutor(len(uuids)) as pool:
        runs = [
            list(pool.map(lambda uuid: measure(backend, uuid, n, wanted[uuid], stride), uuids)) for _ in range(repeat)
        ]
    return [measured for run in runs for measured in run]


def measure(backend: Backend, gpu_uuid: str, n: int, rounds: int, stride: int = STRIDE) -> Measured:
    """Runs one chain, answers a residency nonce, opens rows and judges them as a venue does."""
    stride = min(stride, n // SECTOR_WORDS)
    nonce, second_nonce, secret = secrets.token_hex(32), secrets.token_hex(32), secrets.token_bytes(32)
    challenge = Challenge(
        challenge_id=AGENT,
        cause="idle",
        nonce=nonce,
        n=n,
        rounds=rounds,
        gpu_uuids=(gpu_uuid,),
        issued_ms=0,
        deadline_ms=0,
    )
    asked = draw_opening(secret, challenge, gpu_uuid, min(OPEN_ROUNDS, rounds), min(OPEN_ROWS, n))
    energy_mj = _energy_mj(gpu_uuid)
    chain_s, chain = _timed(lambda: run_chain(backend, challenge, AGENT, gpu_uuid))
    spent_mj = None if energy_mj is None else _energy_mj(gpu_uuid) - energy_mj
    try:
        residency_s, residency = _timed(lambda: answer_residency(chain, AGENT, second_nonce, stride))
        opening_s, opening = _timed(lambda: open_chain(chain, asked))
        rows = _sampled_rows(chain, asked)
    finally:
        chain.release()
    key = residency_key(second_nonce, AGENT, gpu_uuid, chain.head)
    reason = check_chain(challenge, AGENT, chain.head.hex(), asked, opening, secret)
    return Measured(
        gpu_uuid=gpu_uuid,
        backend=backend.name,
        n=n,
        rounds=rounds,
        stride=stride,
        chain_s=chain_s,
        power_w=None if spent_mj is None else spent_mj / 1000 / chain_s,
        operations_per_s=rounds * 2 * n**3 / chain_s,
        filled_bytes=rounds * 4 * n * n,
        residency_s=residency_s,
        opening_s=opening_s,
        reason=reason or check_residency(key, n, stride, residency.digest, residency.roots, rows),
    )


def rounds_to_fill(gpu_uuid: str, n: int, open_gpu: Callable[[str], Gpu], fill: float = FILL) -> int:
    """Returns how many rounds fill a share of a GPU's memory, at most what is free. Raises ProofFailed for none."""
    gpu = open_gpu(gpu_uuid)
    try:
        free, total = gpu.memory()
    finally:
        gpu.close()
    rounds = min(int(fill * total) // (4 * n * n), rounds_that_fit(free, n))
    if rounds < 1:
        raise ProofFailed(f"{gpu_uuid}: not one round at n = {n} fits into {free / 2**20:.1f} MiB of free memory")
    return rounds


def lines_of(measured: Sequence[Measured]) -> list[str]:
    """Returns one line on each GPU."""
    return [
        f"{'CPU' if each.gpu_uuid == CPU else each.gpu_uuid} by {each.backend}: {each.reason or 'proven'}; "
        f"n = {each.n}, {each.rounds} rounds in {each.chain_s:.3f} s, {each.operations_per_s / 1e12:.4g} TOPS, "
        f"{'' if each.power_w is None else f'{each.power_w:.0f} W, '}"
        f"{each.filled_bytes / 2**20:,.0f} MiB filled; residency at stride {each.stride} in "
        f"{each.residency_s * 1000:.1f} ms, opening in {each.opening_s * 1000:.1f} ms"
        for each in measured
    ]


def _uuids(gpus: Sequence[str]) -> list[str]:
    driver = Driver()
    uuids = [driver.uuid(driver.find(gpu)) for gpu in gpus] or driver.uuids()
    if not uuids:
        raise ProofFailed("CUDA lists no GPU on this machine")
    return list(dict.fromkeys(uuids))


def _energy_mj(gpu_uuid: str) -> int | None:
    """Returns the energy that a GPU has taken since its driver was loaded; None where NVML does not say."""
    try:
        pynvml.nvmlInit()
        try:
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(gpu_uuid))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _sampled_rows(chain: Chain, asked: GpuOpeningRequest) -> list[SampledRow]:
    return [
        SampledRow(wanted.round, index, chain.rounds[wanted.round - 1].open_row(index)[0], path)
        for wanted, paths in zip(asked.rounds, residency_paths(chain, asked), strict=True)
        for index, path in zip(wanted.rows, paths, strict=True)
    ]
