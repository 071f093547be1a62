"""Starts programs, each a process of its own, forked from one that has imported everything: that takes milliseconds."""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.zoo.cheats"])


@dataclass
class Running:
    """A running program and its standard streams."""

    process: multiprocessing.Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    async def wait(self) -> None:
        """Waits for its end."""
        await asyncio.to_thread(self.process.join)


async def start(name: str) -> Running:
    """Starts the program of a class."""
    pipes = [Pipe(duplex=False) for _ in range(3)]
    (inbox, stdin), (stdout, outbox), (stderr, complaints) = pipes
    streams = (inbox, outbox, complaints)
    process = FORKS.Process(target=become, args=(name, streams), daemon=True)
    await asyncio.to_thread(process.start)
    for stream in streams:
        stream.close()
    return Running(process, await writer_of(stdin), await reader_of(stdout), await reader_of(stderr))


def become(name: str, streams: Sequence[Connection]) -> None:
    """Is the program, in its own process."""
    from tests.zoo.cheats import ZOO
    from tests.zoo.program import main

    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    asyncio.run(main(ZOO[name]))


async def reader_of(end: Connection) -> asyncio.StreamReader:
    """Wraps the reading end of a pipe."""
    reader = asyncio.StreamReader()
    file = os.fdopen(os.dup(end.fileno()), "rb", buffering=0)
    end.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


async def writer_of(end: Connection) -> asyncio.StreamWriter:
    """Wraps the writing end of a pipe."""
    loop = asyncio.get_running_loop()
    file = os.fdopen(os.dup(end.fileno()), "wb", buffering=0)
    end.close()
    transport, protocol = await loop.connect_write_pipe(lambda: asyncio.streams.FlowControlMixin(loop=loop), file)
    return asyncio.StreamWriter(transport, protocol, None, loop)
