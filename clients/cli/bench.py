"""The group `bench`: what the exchange reaches on this machine, as ratios to a floor of the same run."""

import sys
from pathlib import Path

from cyclopts import App

from clients.cli.output import Refused, show

SHOWN = ("stream", "trades", "live", "equal", "book_ns", "floor_ns", "ratio", "commands_per_s")


def engine(*, stream: Path | None = None, rounds: int = 5, whole: bool = False, json: bool = False) -> int:
    """Run command streams through the order book, beside the floor program.

    Parameters
    ----------
    stream
        a stream file; left out, the fixed streams w1, w1s, w2, w3 and w4, made on first use
    rounds
        interleaved rounds of floor and book, of which the medians are printed
    whole
        run orders and cancels through the whole engine instead, from bytes to bytes, beside the reference engine
    json
        print one JSON document
    """
    if whole:
        return whole_engine(rounds, json)
    try:
        from benchmarks.engine import FIXED_STREAMS, measure_stream
    except ModuleNotFoundError as error:
        if error.name != "matching_engine.stream":
            raise
        raise Refused("the Cython engine is not built: it needs a C compiler and Python's headers") from None
    from benchmarks.floor.program import FloorError, build_floor
    from benchmarks.machine import describe_machine
    from benchmarks.streams.format import BadStreamFile
    from benchmarks.streams.generate import cached_stream
    from infra.places import cache_dir

    if rounds < 1:
        raise Refused("there is at least one round")
    folder = cache_dir() / "bench"
    try:
        floor = build_floor(folder)
    except FloorError as error:
        print(f"hourbook: {error}", file=sys.stderr)
        floor = None
    try:
        paths = [stream] if stream else [cached_stream(name, folder) for name in FIXED_STREAMS]
        rows = [measure_stream(path, floor, rounds) for path in paths]
    except (BadStreamFile, FloorError, OSError) as error:
        raise Refused(str(error)) from None
    machine = describe_machine()
    if json:
        show({"machine": machine, "rounds": rounds, "streams": rows}, json=True)
    else:
        show(machine, json=False)
        show([{name: row[name] for name in SHOWN if name in row} for row in rows], json=False)
    return 0 if all(row["equal"] for row in rows) else 1


def whole_engine(rounds: int, json: bool) -> int:
    from benchmarks.machine import describe_machine
    from benchmarks.whole_engine import measure_whole

    figures = {"machine": describe_machine(), "rounds": rounds} | measure_whole(200_000, rounds)
    show(figures, json=json)
    return 0 if figures["equal"] else 1


def rest(*, orders: int = 4_000, connections: int = 16, json: bool = False) -> None:
    """Place orders over REST on an exchange of its own, beside a bare double round trip through Kafka.

    Parameters
    ----------
    orders
        how many orders are placed over all connections together
    connections
        how many traders place them at once, each over one connection
    json
        print one JSON document
    """
    import shutil
    import tempfile

    from benchmarks.machine import describe_machine
    from benchmarks.rest import WrongAnswer, measure_rest

    work = Path(tempfile.mkdtemp(prefix="hourbook-bench-"))
    work.chmod(0o755)  # as root, PostgreSQL runs as another user, who must reach its data
    try:
        figures = measure_rest(work, orders, connections)
    except WrongAnswer as error:
        raise Refused(f"an order was not acknowledged: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    show({"machine": describe_machine()} | figures, json=json)


def kafka(*, commands: int = 300_000, json: bool = False) -> None:
    """Run the matching process from Kafka to Kafka over one log of orders, beside its own client echoing the records.

    Parameters
    ----------
    commands
        how many orders and cancels the log holds
    json
        print one JSON document
    """
    from benchmarks.kafka_to_kafka import BenchmarkFailed, measure

    if commands < 1_000:
        raise Refused("under 1,000 commands nothing can be measured")
    try:
        figures = measure(commands)
    except BenchmarkFailed as error:
        raise Refused(str(error)) from error
    show(figures if json else figures.pop("machine") | figures, json=json)


def add_to(app: App) -> None:
    bench = App(name="bench", help="Measure this machine: every figure is a ratio to a floor of the same run.")
    bench.command(engine)
    bench.command(rest)
    bench.command(kafka)
    app.command(bench)
