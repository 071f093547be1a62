"""A process that works on one GPU at a time for the agent: what a fault of the driver or of a GPU breaks is it alone.

An uncorrectable memory error or a bad address leaves CUDA of no more use in the process that met it, for all GPUs,
until that process ends. Requests come in order on standard input; all but launches are answered on standard output.
"""

import ctypes
import os
from multiprocessing.connection import Connection
from typing import Any

from agents.node.errors import ProofFailed
from agents.node.proof.gpu import CudaGpu, Driver

ARGUMENT_TYPES = {"u32": ctypes.c_uint32, "u64": ctypes.c_uint64, "pointer": ctypes.c_void_p}


class Server:
    """Answers the requests of one agent."""

    def __init__(self) -> None:
        self._gpu: CudaGpu | None = None
        self._failed_launch = ""

    def answer(self, kind: str, *arguments: Any) -> Any:
        """Carries out a request. Raises ProofFailed, also for a launch that failed before it."""
        if kind == "close":
            if self._gpu is not None:
                self._gpu.close()
            self._gpu, self._failed_launch = None, ""
            return None
        if self._failed_launch:
            raise ProofFailed(self._failed_launch)
        if kind == "capability":
            return Driver().capability(*arguments)
        if kind == "open":
            name, cubin = arguments
            self._gpu = CudaGpu(name, lambda major, minor: cubin)
            return None
        return getattr(self._gpu, kind)(*arguments)

    def launch(self, kernel: str, blocks: int, threads: int, arguments: list[tuple[str, int]], shared: int) -> None:
        """Starts a kernel; a failure is told with the next answer."""
        if not self._failed_launch:
            try:
                typed = [ARGUMENT_TYPES[kind](value) for kind, value in arguments]
                self._gpu.launch(kernel, blocks, threads, typed, shared)
            except ProofFailed as error:
                self._failed_launch = str(error)


def main() -> None:
    """Serves until the agent closes its end, or is gone."""
    requests, replies = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what a library prints must not come between the answers
    server = Server()
    while True:
        try:
            kind, *arguments = requests.recv()
        except EOFError:
            return
        if kind == "launch":
            server.launch(*arguments)
            continue
        try:
            replies.send((True, server.answer(kind, *arguments)))
        except ProofFailed as error:
            replies.send((False, str(error)))
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
