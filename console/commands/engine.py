"""Commands about the engine alone: settle positions from a file, record and replay a command log, look at snapshots."""

import asyncio
import json as json_codec
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

from cyclopts import App

from clients.cli.output import CommandError, show
from console.commands import snapshots

BATCH_RECORDS = 1000


def settle(file: Path, *, json: bool = False) -> None:
    """Settle the positions of FILE, a JSON list of {"in": {q, T, P, I, E, r, hi, lo, bond, fee_bps, D, U}}.

    Tier I also takes interruptible, noticed and recalled_gpus. Prints {"out": …} for each, in the file's order.
    """
    cases = read_json(file)
    if not isinstance(cases, list):
        raise CommandError(f"{file} is not a list of positions")
    outcomes = [{"out": settle_case(case, place)} for place, case in enumerate(cases, start=1)]
    show(outcomes if json else [outcome["out"] for outcome in outcomes], json=json)


def settle_case(case: Any, place: int) -> dict[str, int]:
    """Settles one entry of the file; refuses one that is not whole numbers under the function's own names."""
    from matching_engine import settlement

    parameters = signature(settlement.settle).parameters.values()
    required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    values = case.get("in") if isinstance(case, dict) else None
    if not isinstance(values, dict):
        raise CommandError(f'position {place} has no "in"')
    if missing := required - values.keys():
        raise CommandError(f"position {place} lacks {', '.join(sorted(missing))}")
    if unknown := values.keys() - {parameter.name for parameter in parameters}:
        raise CommandError(f"position {place} has unknown {', '.join(sorted(unknown))}")
    if wrong := sorted(name for name, value in values.items() if not is_whole(name, value)):
        raise CommandError(f"position {place}: {', '.join(wrong)} must be whole numbers, none below zero")
    if values["lo"] >= values["hi"]:
        raise CommandError(f"position {place}: lo must be below hi")
    try:
        return settlement.settle(**values)._asdict()
    except settlement.BadMeterValues as error:
        raise CommandError(f"position {place}: {error}") from error


def is_whole(name: str, value: Any) -> bool:
    if name in ("interruptible", "noticed"):
        return isinstance(value, bool)
    return type(value) is int and value >= 0


def replay(log: Path, *, events: Path | None = None, verify: bool = False, json: bool = False) -> None:
    """Replay LOG, one JSON object {"offset", "ts_ms", "value"} a line, and print where the engine stands.

    With --events FILE (the events, one a line) the replay must give the same bytes; with --verify the plain-Python
    reference engine must give the same events and the same snapshot, too. `engine record` writes such files.
    """
    from matching_engine import ENGINE_NAME, Engine, EngineError
    from matching_engine.rules import Engine as ReferenceEngine

    engine, emitted = Engine(), []
    oracle = ReferenceEngine() if verify else None
    try:
        for batch in batches(log):
            new = engine.apply(batch)
            if oracle is not None:
                check_same(new, oracle.apply(batch), "the reference engine", len(emitted))
            emitted += new
    except (FileNotFoundError, EngineError) as error:
        raise CommandError(f"{log} cannot be replayed: {error}") from error
    if events is not None:
        check_same(emitted, events.read_bytes().splitlines(), str(events))
    if oracle is not None and oracle.snapshot() != engine.snapshot():
        raise CommandError("the events are the same, but the reference engine ends in another state")
    show(
        {
            "engine": ENGINE_NAME,
            "next_offset": engine.next_offset,
            "seq": engine.seq,
            "link": engine.link.hex(),
            "balance_digest": engine.balance_digest(),
            "events": len(emitted),
            "same_as_file": None if events is None else True,
            "same_as_reference": True if verify else None,
        },
        json=json,
    )


def record(log: Path, *, events: Path | None = None, json: bool = False) -> None:
    """Write the running exchange's command log to LOG, as `engine replay` reads it, and its events to --events FILE."""
    from console.commands.admin import kafka_address
    from console.commands.log_files import write_log_files
    from services.kit.settings import Settings

    settings = Settings()
    kafka = kafka_address(settings.data, settings.kafka)
    show(asyncio.run(write_log_files(kafka, settings.keys_dir, log, events)), json=json)


def batches(log: Path) -> Iterator[list[tuple[int, int, bytes]]]:
    """Reads the log's records in the size of a fetch."""
    batch = []
    with log.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json_codec.loads(line)
                batch.append((record["offset"], record["ts_ms"], record["value"].encode("utf-8", "surrogateescape")))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CommandError(f"{log} line {number} is not a log record: {error!r}") from error
            if len(batch) == BATCH_RECORDS:
                yield batch
                batch = []
    yield batch


def check_same(emitted: list[bytes], others: list[bytes], whose: str, before: int = 0) -> None:
    for place, (ours, theirs) in enumerate(zip(emitted, others, strict=False), start=before + 1):
        if ours != theirs:
            raise CommandError(f"event {place} differs: replayed {ours!r}, {whose} has {theirs!r}")
    if len(emitted) != len(others):
        raise CommandError(f"the replay gives {before + len(emitted)} events, {whose} {before + len(others)}")


def read_json(file: Path) -> Any:
    try:
        return json_codec.loads(file.read_bytes())
    except FileNotFoundError:
        raise CommandError(f"there is no file {file}") from None
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from error


def add_to(app: App) -> None:
    engine = App(name="engine", help="The engine alone, without a venue.")
    engine.command(settle)
    for command in (record, replay, snapshots.inspect, snapshots.diff):
        engine.command(command)
    app.command(engine)
