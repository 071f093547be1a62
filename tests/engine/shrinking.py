"""A failing log made small: delta debugging over its commands, each batch signed and numbered anew, told as text."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from schemas.base import Model
from schemas.commands import read_command
from schemas.venue import Privileged
from tests.engine.random_log import Record
from tests.scenarios.venue import signed

Step = tuple[int, bytes | Model | tuple[str, Model]]
BUDGET_S = 120.0


def steps_of(records: list[Record]) -> list[Step]:
    """A log as steps that stand alone: time and a record, or time and one command of a batch with its source."""
    numbers: dict[str, int] = {}
    steps: list[Step] = []
    for _, ts_ms, raw in records:
        command = read(raw)
        if is_next_batch(command, numbers):
            numbers[command.source] = command.number
            steps += [(ts_ms, (command.source, each)) for each in command.commands]
        else:
            steps.append((ts_ms, command or raw))
    return steps


def is_next_batch(command: Model | None, numbers: dict[str, int]) -> bool:
    """Whether a record is a batch that the engine would take, as far as number and signature go."""
    if not isinstance(command, Privileged) or command.number != numbers.get(command.source, 0) + 1:
        return False
    return command == signed(command.source, command.number, command.commands)


def records_of(steps: list[Step]) -> list[Record]:
    """A log of these steps."""
    numbers: dict[str, int] = {}
    records: list[Record] = []
    for ts_ms, what in steps:
        if isinstance(what, tuple):
            source, command = what
            numbers[source] = numbers.get(source, 0) + 1
            what = signed(source, numbers[source], (command,))
        records.append((len(records), ts_ms, what if isinstance(what, bytes) else what.canonical()))
    return records


def read(raw: bytes) -> Model | None:
    try:
        return read_command(raw)
    except ValueError:
        return None


def shrink(records: list[Record], fails: Callable[[list[Record]], bool], budget_s: float = BUDGET_S) -> list[Record]:
    """The smallest log found that still fails; the log itself where its steps alone do not."""
    steps, until = steps_of(records), time.monotonic() + budget_s
    if not fails(records_of(steps)):
        return records
    pieces = 2
    while len(steps) > 1 and time.monotonic() < until:
        size = -(-len(steps) // pieces)
        for first in range(0, len(steps), size):
            rest = steps[:first] + steps[first + size :]
            if time.monotonic() < until and fails(records_of(rest)):
                steps, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(steps), 2 * pieces)
    return records_of(steps)


def tell(records: list[Record]) -> str:
    """A log as text, a command a line: offset, log time, who, what."""
    lines = []
    for offset, ts_ms, raw in records:
        at = datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%d %H:%M:%S.%f")[:-3]
        command = read(raw)
        if isinstance(command, Privileged):
            told = [f"{command.source}: {tell_command(each)}" for each in command.commands]
        else:
            told = [repr(raw) if command is None else tell_command(command)]
        lines += [f"{offset:5} {at}  {each}" for each in told]
    return "\n".join(lines)


def tell_command(command: Model) -> str:
    fields = command.model_dump(mode="json")
    kind = fields.pop("type")
    words = [f"{name}={value}" for name, value in fields.items() if value is not None and value is not False]
    return " ".join([kind, *words])
