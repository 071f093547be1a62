"""What every source of idleness answers and does, and the bounded way to run a scheduler's command."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.node.errors import AgentError

OUTPUT_MAX = 32 * 1024 * 1024


class SourceFailed(AgentError):
    """A scheduler does not answer, or answers what cannot be read: nothing may be said of what is idle."""


@dataclass(frozen=True, order=True)
class Span:
    """A time in Unix seconds, its end left out."""

    start_s: int
    end_s: int


@dataclass(frozen=True)
class Use:
    """GPUs that somebody else has or is to get: from `start_s` to `end_s`, or for good; all of the node where None."""

    gpus: int | None
    what: str
    start_s: int = 0
    end_s: int | None = None

    def touches(self, start_s: int, end_s: int) -> bool:
        """Tells whether it takes any of [start_s, end_s)."""
        return self.start_s < end_s and (self.end_s is None or start_s < self.end_s)


@dataclass(frozen=True)
class Look:
    """What a scheduler says of a node: its GPUs, and who uses them when."""

    gpus: int
    uses: tuple[Use, ...] = ()

    def free(self, start_s: int, end_s: int) -> tuple[int, str]:
        """Returns how many GPUs are nobody's during all of a period, and who has the others."""
        uses = [use for use in self.uses if use.touches(start_s, end_s)]
        taken = sum(self.gpus if use.gpus is None else use.gpus for use in uses)
        return max(self.gpus - taken, 0), ", ".join(dict.fromkeys(use.what for use in uses))


class Source(Protocol):
    """A scheduler. Both methods raise SourceFailed."""

    name: str

    async def look(self) -> Look:
        """Asks what is idle, now and in the hours to come."""

    async def hold(self, sold: tuple[Span, ...]) -> None:
        """Takes the node out of the scheduler's hands while it is sold, and gives back what it took before that."""


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Joins spans that touch."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start_s <= joined[-1].end_s:
            joined[-1] = Span(joined[-1].start_s, max(joined[-1].end_s, span.end_s))
        else:
            joined.append(span)
    return tuple(joined)


async def run_command(command: Sequence[str], timeout_s: float) -> str:
    """Returns what a program prints. Raises SourceFailed where it fails, takes too long, or prints without end."""
    words = " ".join(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=OUTPUT_MAX,
        )
    except OSError as error:
        raise SourceFailed(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await asyncio.gather(_read(process.stdout), _read(process.stderr))
            status = await process.wait()
    except (TimeoutError, SourceFailed) as error:
        raise SourceFailed(f"{words}: {str(error) or f'took longer than {timeout_s:g} s'}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        said = (complaint or output).decode(errors="replace").strip().splitlines()
        raise SourceFailed(f"{words}: {said[-1] if said else f'exit status {status}'}")
    return output.decode(errors="replace")


async def _read(stream: asyncio.StreamReader) -> bytes:
    parts, size = [], 0
    while part := await stream.read(65_536):
        parts.append(part)
        size += len(part)
        if size > OUTPUT_MAX:
            raise SourceFailed(f"prints more than {OUTPUT_MAX} bytes")
    return b"".join(parts)
