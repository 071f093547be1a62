"""Chooses what a node proves its GPUs with: CUDA, or the CPU where the GPUs are simulated."""

import logging
from collections.abc import Callable, Sequence

from agents.node.challenge import Backend, NumpyBackend
from agents.node.errors import ProofFailed

log = logging.getLogger("hourbook.agent")


def choose_backend(
    simulated: bool, gpu_uuids: Sequence[str], prepare: Callable[[Sequence[str]], None] | None = None
) -> Backend:
    """Returns the backend for a node's GPUs, and says in one line what keeps real ones from being proven.

    `prepare` makes ready what their proof needs; by default their processes and kernels.
    """
    if simulated:
        return NumpyBackend()
    from agents.node.proof.cuda import CudaBackend  # an agent of simulated GPUs is spared the memory
    from agents.node.proof.gpu_process import POOL

    try:
        (prepare or POOL.prepare)(gpu_uuids)
    except ProofFailed as error:
        log.error("these GPUs cannot be proven, and nothing is sold until they are: %s", error)
    return CudaBackend()
