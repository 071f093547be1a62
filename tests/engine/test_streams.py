"""Command streams: the batched book gives what the stream's own matcher gives, however the stream is cut."""

import random
from array import array

import pytest

from benchmarks.costs.streams import draw
from benchmarks.engine import is_expected, measure_stream, run_book
from benchmarks.exchange_stream import open_exchange
from benchmarks.harness.audit import check_books
from benchmarks.harness.stream import BadStream, StreamRunner, StreamTotals, TapeTrade
from benchmarks.streams.format import (
    ASK,
    BID,
    COMMAND,
    IMMEDIATE,
    MOVE,
    BadStreamFile,
    Header,
    read_stream,
    write_stream,
)
from benchmarks.streams.workloads import Workload, mixed, moves, sparse_id, sweeps
from tests.engine.naive_book import NaiveBook

RECIPES = {
    "mixed": (Workload(3, 1), lambda work: mixed(work, 20_000, 2_000, 2_000)),
    "sparse ids": (Workload(5, 1, sparse_id), lambda work: mixed(work, 20_000, 2_000, 2_000)),
    "many books": (Workload(7, 40), lambda work: mixed(work, 20_000, 2_000, 2_000, zipf=1.0)),
    "sweeps": (Workload(11, 1), lambda work: sweeps(work, 10_000, 1_000)),
    "moves": (Workload(13, 1), lambda work: moves(work, 20_000, 300)),
}


def draw_stream(work: Workload, recipe) -> tuple[Header, bytes]:
    """The header and the bytes of a stream, made as its file is."""
    for _ in recipe(work):
        pass
    return work.header(), b"".join(COMMAND.pack(*command) for command in work.commands)


@pytest.fixture(scope="module")
def streams() -> dict[str, tuple[Header, bytes]]:
    return {name: draw_stream(*recipe) for name, recipe in RECIPES.items()}


def limit(order_id: int, side: int, price: int, quantity: int, *, operation: int = 0, book: int = 0) -> bytes:
    return COMMAND.pack(operation, side, book, quantity, price, 1, order_id)


@pytest.mark.parametrize("name", RECIPES)
def test_a_stream_comes_to_the_result_of_its_own_matcher(streams, name):
    header, commands = streams[name]
    _, totals = run_book(header, memoryview(commands))
    assert totals == StreamTotals(
        header.trades, header.quantity, header.checksum, header.live, header.live_quantity, header.cancels, 0
    )
    assert is_expected(header, totals)


@pytest.mark.parametrize("batch_commands", [1, 7, 16, 17, 1_000])
def test_where_a_stream_is_cut_changes_nothing(streams, batch_commands):
    header, commands = streams["many books"]
    whole, cut = StreamRunner(header.books), StreamRunner(header.books)
    trades = whole.apply_stream(commands)
    tape = []
    for start in range(0, len(commands), batch_commands * COMMAND.size):
        cut.apply_stream(commands[start : start + batch_commands * COMMAND.size])
        tape += cut.tape_trades()
    assert len(tape) == trades
    assert (tape, cut.totals()) == (whole.tape_trades(), whole.totals())
    check_books(cut.books)


def test_the_tape_of_a_stream_is_the_plainest_books_tape(streams):
    _, commands = streams["moves"]
    runner, book, expected = StreamRunner(1), NaiveBook(), []
    part = commands[: 4_000 * COMMAND.size]
    runner.apply_stream(part)
    for operation, side, _, quantity, price, _, order_id in COMMAND.iter_unpack(part):
        if operation >= 2:
            book.cancel(order_id)
        if operation != 2:
            fills = book.add(order_id, side, price, quantity, immediate=operation == 1)
            expected += [TapeTrade(maker_id, order_id, at, traded) for maker_id, at, traded in fills]
    assert runner.tape_trades() == expected
    for side in (0, 1):
        ids = [(order.order_id, order.price, order.quantity) for order in runner.books.orders(0, side)]
        assert ids == [(order.order_id, order.price, order.quantity) for order in book.orders(side)]


def test_records_that_make_no_sense_are_refused_and_change_nothing():
    runner = StreamRunner(2)
    runner.apply_stream(limit(1, 0, 10, 5) + limit(2, 1, 12, 5, book=1))
    before = runner.totals()
    nonsense = [
        limit(1, 1, 10, 5),
        limit(3, 2, 10, 5),
        limit(3, 0, 10, 5, book=2),
        limit(3, 0, 10, 5, book=65_535),
        limit(3, 0, 10, 5, operation=2),
        limit(3, 0, 10, 5, operation=3),
        limit(1, 0, 10, 5, operation=4),
        limit(1, 0, 10, 5, operation=255),
    ]
    assert runner.apply_stream(b"".join(nonsense)) == 0
    assert runner.totals() == before._replace(refused=len(nonsense))
    check_books(runner.books)


def test_an_order_of_nothing_leaves_nothing():
    runner = StreamRunner(1)
    runner.apply_stream(limit(1, 0, 10, 0))
    assert runner.totals() == StreamTotals(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("size", [1, 23, 25])
def test_bytes_that_are_no_whole_records_are_refused(size):
    with pytest.raises(BadStream):
        StreamRunner(1).apply_stream(bytes(size))


def test_an_empty_batch_has_no_trades():
    assert StreamRunner(1).apply_stream(b"") == 0


def test_a_stream_file_reads_as_it_was_written_and_is_measured(tmp_path, streams):
    header, commands = streams["sweeps"]
    path = tmp_path / "small.bin"
    write_stream(path, header, list(COMMAND.iter_unpack(commands)))
    assert read_stream(path) == (header, commands)
    figures = measure_stream(path, None, 1)
    taken = {name: figures[name] for name in ("stream", "commands", "trades", "live", "equal")}
    assert taken == {
        "stream": "small",
        "commands": header.commands,
        "trades": header.trades,
        "live": header.live,
        "equal": True,
    }


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: b"X" + data[1:], lambda data: data[:100]])
def test_a_spoilt_stream_file_is_refused(tmp_path, streams, spoil):
    header, commands = streams["sweeps"]
    path = tmp_path / "small.bin"
    write_stream(path, header, list(COMMAND.iter_unpack(commands)))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadStreamFile):
        read_stream(path)


def test_a_wrong_result_in_the_header_is_noticed(tmp_path, streams):
    header, commands = streams["sweeps"]
    path = tmp_path / "wrong.bin"
    write_stream(path, header._replace(checksum=header.checksum ^ 1), list(COMMAND.iter_unpack(commands)))
    assert measure_stream(path, None, 1)["equal"] is False


@pytest.mark.parametrize("books", [1, 3_000])
def test_one_command_per_call_gives_what_a_batch_gives_however_far_that_looks_ahead(books: int):
    dice = random.Random(books)
    _, commands = draw(60_000, books, commands=2_000)
    taken = [(IMMEDIATE, ASK, dice.randrange(books), 80, dice.randrange(1, 201), 7, 10**6 + i) for i in range(5_000)]
    moved = [(MOVE, BID, dice.randrange(books), 9, dice.randrange(1, 201), 7, dice.randrange(60_000)) for _ in taken]
    everything = [*commands, *(each for pair in zip(taken, moved, strict=True) for each in pair)]
    single, batch = StreamRunner(books), StreamRunner(books)
    trades = [single.apply_one(*command) for command in everything]
    for part in (everything[:60_000], everything[60_000:]):  # how far is decided by what rests before a batch
        batch.apply_stream(b"".join(COMMAND.pack(*command) for command in part))
    assert single.totals() == batch.totals()
    assert sum(trades) == batch.totals().trades > 1_000


def test_timing_each_command_changes_nothing(streams):
    header, commands = streams["mixed"]
    timed, plain = StreamRunner(header.books), StreamRunner(header.books)
    ticks = array("I", bytes(4 * (len(commands) // COMMAND.size)))
    timed.time_each(commands, ticks)
    plain.apply_stream(commands)
    assert timed.totals() == plain.totals()
    assert min(ticks) > 0
    with pytest.raises(BadStream):
        timed.time_each(commands, ticks[1:])


def test_the_whole_exchange_refuses_what_makes_no_sense_in_a_stream(streams):
    header, _ = streams["mixed"]
    _, runner = open_exchange(header)
    cancel_of_none, move_of_none = limit(9, 0, 10, 1, operation=2), limit(9, 0, 10, 1, operation=3)
    bid = limit(1, 0, header.price_min, 5)
    assert runner.load(bid + bid + cancel_of_none + move_of_none) == 1
    assert runner.run() == 0
    runner.count()
    assert runner.totals() == StreamTotals(0, 0, 0, 1, 5, 0, 3)
    assert runner.load(limit(1, 0, header.price_min + 1, 7, operation=3) + limit(1, 0, 0, 0, operation=2)) == 3
    assert runner.run() == 0
    runner.count()
    assert runner.totals() == StreamTotals(0, 0, 0, 0, 0, 1, 3)
    with pytest.raises(BadStream):
        runner.load(bid[1:])
    runner.load(limit(1, 0, 0, 0, operation=2))
    with pytest.raises(BadStream, match="command 0 of the batch is out of the ordinary"):
        runner.run()
