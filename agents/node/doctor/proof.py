"""Whether the GPUs can be proven: the CUDA backend's packages, the driver's calls, and the kernels for each GPU."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agents.node.doctor.findings import Finding, mend, ok
from agents.node.errors import ProofFailed
from agents.node.proof.gpu_process import POOL

SUBJECT = "proof"


def examine_proof(answer: dict[str, Any], prepare: Callable[[Sequence[str]], None] = POOL.prepare) -> Iterator[Finding]:
    """Yields what keeps the GPUs of an answer of the NVML process from being proven; takes no memory on any of them."""
    uuids = [gpu["identity"].get("uuid") for gpu in answer["gpus"] if not gpu["lost"]]
    known = [uuid for uuid in uuids if isinstance(uuid, str) and uuid]
    if answer["system"]["simulated"]:
        yield ok(SUBJECT, "the GPUs are simulated: the CPU proves them")
        return
    try:
        prepare(known)
    except ProofFailed as error:
        yield mend(SUBJECT, f"the GPUs cannot be proven: {error}")
        return
    yield ok(SUBJECT, f"CUDA opens {len(known)} GPUs, and the kernels compile; hourbook-agent verify runs them")
