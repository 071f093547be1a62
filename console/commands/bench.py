"""The group `bench`: what the exchange reaches on this machine, as ratios to a floor of the same run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from clients.cli.output import CommandError, show

SHOWN = (
    "stream",
    "trades",
    "live",
    "equal",
    "floor_ns",
    "book_ns",
    "ratio",
    "exchange_ns",
    "exchange_ratio",
    "exchange_least_ratio",
    "write_ns_per_event",
    "hash_floor_ns_per_event",
)
WHOLE_COMMANDS = 200_000
SNAPSHOT_ORDERS = 1_000_000
BLOCK_NODES, BLOCK_ORDERS = 1_000, 100
KIND_COMMANDS = 400
REPORT_NODES, REPORT_GPUS, REPORT_CONNECTIONS = 400, 8, 100
PROOF_GPUS = 4


def fleet(*, nodes: int = 200, hours: int = 48, rounds: int = 6, rules: bool = False, json: bool = False) -> None:
    """Let the nodes of one account sell on an exchange of its own: its requests and processor seconds, phase by phase.

    Parameters
    ----------
    nodes
        how many nodes of eight GPUs report and sell, each as an agent of its own does
    hours
        how far ahead each offers
    rounds
        how often each looks while nothing changes
    rules
        let prices follow index, age and the best other ask
    json
        print one JSON document
    """
    from benchmarks import fleet as bench
    from benchmarks.machine import describe_machine

    measured = in_work_folder(lambda work: bench.measure_fleet(work, nodes, REPORT_GPUS, hours, rounds, rules))
    show({"machine": describe_machine()} | measured, json=json)


def everything(*, rounds: int = 3, json: bool = False) -> int:
    """Run every bench, one after the other (some minutes), and hold the figures against what is meant to be reached.

    Exits with 1 where a result is wrong; a target that this machine misses is only said.

    Parameters
    ----------
    rounds
        interleaved rounds of the benches in process, of which the medians are printed
    json
        print one JSON document
    """
    from benchmarks.machine import describe_machine
    from benchmarks.targets import judge
    from infra.progress import step

    check_rounds(rounds)
    report: dict[str, Any] = {"machine": describe_machine(), "rounds": rounds}
    with step("order book beside the floor"):
        report["book"] = measure_book(None, rounds)
    with step("whole engine beside the reference"):
        report["engine"] = measure_engine(rounds)
    with step("costs of the book beside the floor"):
        report["costs"] = measure_book_costs(rounds)
    with step("blocks and capacity beside limit orders"):
        report["blocks"] = measure_blocks(rounds)
    with step("Kafka to Kafka beside an echo"):
        report["kafka"] = without_machine(measure_kafka(300_000))
    with step("orders over REST beside bare round trips"):
        report["rest"] = measure_rest(4_000, 16)
    with step("reports of many nodes"):
        report["reports"] = measure_reports(REPORT_NODES, REPORT_GPUS, rounds)
    with step("openings of full-size proofs"):
        report["proofs"] = measure_proofs(PROOF_GPUS)
    report["targets"] = judge(report)
    if json:
        show(report, json=True)
    else:
        print_report(report)
    return 0 if report["engine"]["equal"] and all(row["equal"] for row in report["book"]) else 1


def print_report(report: dict[str, Any]) -> None:
    """Prints a report as a person reads it: the machine, each bench under its name, the targets last."""
    show(report["machine"], json=False)
    for name, title in (
        ("book", "Order book, in process, beside the floor program"),
        ("engine", "Whole engine, from bytes to bytes, beside the reference engine"),
        ("costs", "What single properties of the book cost"),
        ("blocks", "Blocks over 24 hours and capacity over 72, beside limit orders"),
        ("kafka", "Matching process, Kafka to Kafka, beside the same client echoing the records"),
        ("rest", "Orders over REST, beside a bare double round trip through Kafka"),
        ("reports", "Reports of many nodes, paced as agents are, then ten times as fast"),
        ("proofs", "Openings of full-size proofs, as the venue verifies them"),
    ):
        print(f"\n{title}")
        show(list(map(stream_row, report[name])) if name == "book" else report[name], json=False)
    print("\nTargets")
    show([row | {"met": "yes" if row["met"] else "no"} for row in report["targets"]], json=False)


def engine(
    *,
    stream: Path | None = None,
    rounds: int = 5,
    whole: bool = False,
    blocks: bool = False,
    kinds: bool = False,
    snapshot: bool = False,
    json: bool = False,
) -> int:
    """Run command streams through the order book and through the whole exchange, beside the floor program.

    The exchange has accounts, money held, clients' order ids and positions; it takes packed commands and gives packed
    events. Writing those as linked JSON is measured apart.

    Parameters
    ----------
    stream
        a stream file; left out, the fixed streams w1, w1s, w2, w3 and w4, made on first use
    rounds
        interleaved rounds of floor, book and exchange, of which the medians are printed
    whole
        run orders and cancels through the whole engine instead, from bytes to bytes, beside the reference engine
    blocks
        run blocks over 24 hours against 1,000 nodes and capacity over 72 hours instead, beside limit orders
    kinds
        run each kind of command by itself instead, and beside what a stranger leaves standing in the same books
    snapshot
        write and load a snapshot of 1,000,000 resting orders instead, beside hashing and copying its bytes
    json
        print one JSON document
    """
    from benchmarks.machine import describe_machine

    check_rounds(rounds)
    if snapshot:
        from benchmarks.snapshot import measure_snapshot

        figures = {"machine": describe_machine(), "rounds": rounds} | measure_snapshot(SNAPSHOT_ORDERS, rounds)
        show(figures, json=json)
        return 0 if figures["equal"] else 1
    if blocks:
        show({"machine": describe_machine(), "rounds": rounds} | measure_blocks(rounds), json=json)
        return 0
    if kinds:
        from benchmarks.kinds import measure_kinds

        rows = measure_kinds(KIND_COMMANDS, rounds)
        show({"machine": describe_machine(), "rounds": rounds, "kinds": rows} if json else rows, json=json)
        return 0
    if whole:
        figures = {"machine": describe_machine(), "rounds": rounds} | measure_engine(rounds)
        show(figures, json=json)
        return 0 if figures["equal"] else 1
    rows = measure_book(stream, rounds)
    machine = describe_machine()
    if json:
        show({"machine": machine, "rounds": rounds, "streams": rows}, json=True)
    else:
        show(machine, json=False)
        show(list(map(stream_row, rows)), json=False)
    return 0 if all(row["equal"] for row in rows) else 1


def costs(*, rounds: int = 5, json: bool = False) -> int:
    """Measure what single properties of the book cost, beside the floor program where it has them.

    Memory of a book and of a resting order, many books, growth with what rests, latency of one command, one command
    per call from Python, books of unusual shapes, allocations in the steady state.

    Parameters
    ----------
    rounds
        interleaved rounds of floor and book, of which the least are printed
    json
        print one JSON document
    """
    from benchmarks.machine import describe_machine

    check_rounds(rounds)
    figures = measure_book_costs(rounds)
    show({"machine": describe_machine(), "rounds": rounds} | figures, json=json)
    return 0 if figures["one_call"]["equal"] else 1


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
    from benchmarks.machine import describe_machine

    show({"machine": describe_machine()} | measure_rest(orders, connections), json=json)


def kafka(*, commands: int = 300_000, json: bool = False) -> None:
    """Run the matching process from Kafka to Kafka over one log of orders, beside its own client echoing the records.

    Parameters
    ----------
    commands
        how many orders and cancels the log holds
    json
        print one JSON document
    """
    show(measure_kafka(commands), json=json)


def reports(*, nodes: int = REPORT_NODES, gpus: int = REPORT_GPUS, rounds: int = 3, json: bool = False) -> None:
    """Let many nodes report to an exchange of its own, paced as agents are, then ten times as fast.

    Parameters
    ----------
    nodes
        how many nodes enroll, prove their GPUs and report
    gpus
        how many GPUs each of them has
    rounds
        how often each reports before the burst
    json
        print one JSON document
    """
    from benchmarks.machine import describe_machine

    check_rounds(rounds)
    show({"machine": describe_machine()} | measure_reports(nodes, gpus, rounds), json=json)


def measure_book(stream: Path | None, rounds: int) -> list[dict[str, Any]]:
    """Runs the fixed streams, or one file, through the book; without a C++ compiler there is no floor beside it."""
    try:
        from benchmarks.engine import FIXED_STREAMS, measure_stream
    except ModuleNotFoundError as error:
        if error.name != "benchmarks.harness.stream":
            raise
        raise CommandError("the Cython engine is not built: it needs a C compiler and Python's headers") from None
    from benchmarks.floor.program import FloorError, build_floor
    from benchmarks.streams.format import BadStreamFile
    from benchmarks.streams.generate import cached_stream
    from infra.places import cache_dir

    folder = cache_dir() / "bench"
    try:
        floor = build_floor(folder)
    except FloorError as error:
        print(f"hourbook: {error}", file=sys.stderr)
        floor = None
    try:
        paths = [stream] if stream else [cached_stream(name, folder) for name in FIXED_STREAMS]
        return [measure_stream(path, floor, rounds) for path in paths]
    except (BadStreamFile, FloorError, OSError) as error:
        raise CommandError(str(error)) from None


def measure_book_costs(rounds: int) -> dict[str, Any]:
    """Every cost; without a C++ compiler there is no floor, and nothing to hold them against."""
    from benchmarks.costs.report import measure_costs
    from benchmarks.floor.program import FloorError
    from infra.places import cache_dir

    try:
        return measure_costs(cache_dir() / "bench", rounds)
    except (FloorError, OSError) as error:
        raise CommandError(str(error)) from None


def measure_blocks(rounds: int) -> dict[str, Any]:
    from benchmarks.blocks import measure

    return measure(BLOCK_NODES, BLOCK_ORDERS, rounds)


def measure_engine(rounds: int) -> dict[str, Any]:
    from benchmarks.whole_engine import measure_whole

    return measure_whole(WHOLE_COMMANDS, rounds)


def measure_kafka(commands: int) -> dict[str, Any]:
    from benchmarks.kafka_to_kafka import BenchmarkFailed, measure

    if commands < 1_000:
        raise CommandError("--commands must be at least 1,000")
    try:
        return measure(commands)
    except BenchmarkFailed as error:
        raise CommandError(str(error)) from error


def measure_rest(orders: int, connections: int) -> dict[str, Any]:
    from benchmarks import rest as bench

    try:
        return in_work_folder(lambda work: bench.measure_rest(work, orders, connections))
    except bench.WrongAnswer as error:
        raise CommandError(f"an order was not acknowledged: {error}") from error


def proofs(*, gpus: int = PROOF_GPUS, json: bool = False) -> None:
    """Verify the openings of full-size proofs of H100s, as the venue does: bytes, processor time, and what waits.

    Parameters
    ----------
    gpus
        how many GPUs' openings come at once
    json
        print one JSON document
    """
    from benchmarks.machine import describe_machine

    if gpus < 1:
        raise CommandError("--gpus must be at least 1")
    show({"machine": describe_machine()} | measure_proofs(gpus), json=json)


def measure_proofs(gpus: int) -> dict[str, Any]:
    from benchmarks import proofs as bench

    try:
        return bench.measure_proofs(gpus)
    except bench.ProofRefused as error:
        raise CommandError(f"a proof did not pass: {error}") from error


def measure_reports(nodes: int, gpus: int, rounds: int) -> dict[str, Any]:
    from benchmarks import reports as bench

    try:
        return in_work_folder(lambda work: bench.measure_reports(work, nodes, gpus, rounds, REPORT_CONNECTIONS))
    except bench.ReportRefused as error:
        raise CommandError(f"a report was not accepted: {error}") from error


def in_work_folder(measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Runs a bench in a folder of its own, which goes afterwards."""
    import shutil
    import tempfile

    from infra.processes import DidNotStart

    work = Path(tempfile.mkdtemp(prefix="hourbook-bench-"))
    work.chmod(0o755)  # as root, PostgreSQL runs as another user, who must reach its data
    try:
        return measure(work)
    except DidNotStart as error:
        raise CommandError(str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def without_machine(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in ("machine", "targets")}


def stream_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SHOWN if name in row}


def check_rounds(rounds: int) -> None:
    if rounds < 1:
        raise CommandError("--rounds must be at least 1")


def add_to(app: App) -> None:
    bench = App(name="bench", help="Measure this machine: every figure is a ratio to a floor of the same run.")
    bench.default(everything)
    bench.command(engine)
    bench.command(costs)
    bench.command(rest)
    bench.command(reports)
    bench.command(fleet)
    bench.command(proofs)
    bench.command(kafka)
    app.command(bench)
