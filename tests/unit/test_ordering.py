"""The order in which workers take the tests' files."""

from tests.fixtures.ordering import HERE, LONG, order_of

SALES, EDGE = HERE / "integration/listings/test_sales.py", HERE / "integration/delivery/test_edge.py"
IDS, MONEY, BOOK = (HERE / f"unit/schemas/test_{name}.py" for name in ("ids", "money", "book"))
AGENT = HERE / "unit/agents/test_pace.py"


def test_long_files_come_first_and_those_that_wait_lie_between_those_that_compute():
    assert order_of([IDS, MONEY, BOOK, AGENT, EDGE, SALES]) == [IDS, SALES, AGENT, MONEY, EDGE, BOOK]


def test_every_file_is_taken_once_whatever_kinds_there_are():
    assert order_of([EDGE, SALES]) == [SALES, EDGE]
    assert order_of([IDS, MONEY]) == [IDS, MONEY]
    assert order_of([]) == []


def test_each_long_file_is_there():
    there = [file.as_posix() for file in HERE.rglob("test_*.py")]
    assert [name for name in LONG if not any(file.endswith(name) for file in there)] == []
