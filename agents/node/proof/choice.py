"""Chooses what a node proves its GPUs with: CUDA, or the CPU where the GPUs are simulated."""

import logging
from collections.abc import Callable, Sequence

from agents.node.challenge import Backend, NumpyBackend
from agents.node.errors import ProofFailed
from agents.node.proof.cuda import CudaBackend
from agents.node.proof.gpu import prepare

log = logging.getLogger("hourbook.agent")


def choose_backend(
    simulated: bool, gpu_uuids: Sequence[str], prepare: Callable[[Sequence[str]], None] = prepare
) -> Backend:
    """Returns the backend for a node's GPUs, and says in one line what keeps real ones from being proven."""
    if simulated:
        return NumpyBackend()
    try:
        prepare(gpu_uuids)
    except ProofFailed as error:
        log.error("these GPUs cannot be proven, and nothing is sold before they are: %s", error)
    return CudaBackend()
