"""The digest book: what it takes, what a node's software leaves to ask, and what an agent's version is worth."""

from pathlib import Path

import pytest

from schemas.versions import is_older, parse_version
from services.delivery import app
from services.delivery.digests import Software, doubts, read_digest_book, text_prefix
from services.delivery.settings import Settings
from services.delivery.tables import BadTable

DIGEST, OTHER = "a" * 64, "b" * 64
REAL = Software(
    "550.163.01", DIGEST, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01", "agent 0.1.0", False
)
HEAD = "driver_version,library_sha256,source,taken_on\n"


def asked(known=frozenset({DIGEST}), simulated: bool = False, oldest: str = "0.1.0", **changes) -> dict[str, str]:
    return doubts(REAL._replace(**changes), known, simulated, oldest)


def test_a_known_driver_with_its_own_library_leaves_nothing_to_ask():
    assert asked() == {}
    assert asked(known={DIGEST, OTHER}) == {}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"known": ()}, {"driver_unknown": "driver 550.163.01 is not in the digest book"}),
        (
            {"library_sha256": OTHER},
            {"library_mismatch": "driver 550.163.01 comes with another library than bbbbbbbbbbbbbbbb…"},
        ),
        (
            {"kernel": "NVRM version: 535.54.03"},
            {"driver_impossible": "the library says driver 550.163.01, the kernel NVRM version: 535.54.03"},
        ),
        ({"driver": "551.23"}, {"driver_impossible": "driver version 551.23 was never published for Linux"}),
        ({"driver": "unknown", "library_sha256": "0" * 64}, {"driver_unknown": "the driver does not answer"}),
        ({"is_simulated": True}, {"telemetry_changed": "the telemetry was another kind at enrolment"}),
        (
            {"agent": "hourbook-agent 0.0.9"},
            {"agent_too_old": "agent hourbook-agent 0.0.9 is older than 0.1.0, the oldest that this venue takes"},
        ),
    ],
)
def test_what_software_leaves_to_ask_is_named(changes, found):
    assert asked(**changes) == found


def test_nothing_is_asked_about_the_library_of_a_simulated_node_even_while_its_driver_does_not_answer():
    assert asked(known=(), simulated=True, is_simulated=True) == {}
    assert asked(known=(), simulated=True, driver="unknown", library_sha256="0" * 64) == {}
    assert set(asked(known=(), simulated=True)) == {"telemetry_changed", "driver_unknown"}


@pytest.mark.parametrize(
    ("agent", "oldest", "older"),
    [
        ("hourbook-agent 0.1.0", "0.1.0", False),
        ("hourbook-agent 0.1.0", "0.1.1", True),
        ("0.9", "0.10", True),
        ("2.0.0-rc1", "1.9", False),
        ("built by hand", "0.1.0", False),
    ],
)
def test_an_agent_is_older_by_its_number_not_by_its_text(agent, oldest, older):
    assert is_older(agent, oldest) is older


def test_a_text_without_a_number_is_no_version():
    assert (parse_version("x"), parse_version("hourbook-agent 0.1.0")) == (None, (0, 1, 0))


def test_software_comes_back_from_its_text_whatever_it_says():
    odd = REAL._replace(kernel="a\nb', 'c\x00", agent="'\"")
    assert Software.from_text(odd.text) == odd
    assert odd.text.startswith(text_prefix(odd.driver, odd.library_sha256))
    assert not odd.text.startswith(text_prefix(odd.driver, OTHER))


def test_the_books_digests_are_those_of_debians_packages():
    book = read_digest_book(Settings().digest_book)
    assert {driver: len(digests) for driver, digests in book.items()} == dict.fromkeys(
        (
            *("390.157", "470.256.02", "525.147.05", "535.216.03"),
            *("535.261.03", "535.274.02", "550.163.01", "555.58.02"),
        ),
        1,
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1: has no line that names its columns"),
        ("a,b\n", ":1: the columns are driver_version,library_sha256,source,taken_on, in this order"),
        (HEAD + "550.163.01\n", ":2: has 1 columns of 4"),
        (
            HEAD + f"\n# words\n551.23,{DIGEST},x,2026-01-01\n",
            ":4: column 1 (driver_version): driver version 551.23 was never published for Linux",
        ),
        (
            HEAD + "550.163.01,abc,x,2026-01-01\n",
            ":2: column 2 (library_sha256): 'abc' is no SHA-256 in lower-case hex",
        ),
        (
            HEAD + f"550.163.01,{DIGEST},,2026-01-01\n",
            ":2: column 3 (source): says not where the digest was taken from",
        ),
        (HEAD + f"550.163.01,{DIGEST},x,soon\n", ":2: column 4 (taken_on): Invalid isoformat string: 'soon'"),
        (
            HEAD + f"550.163.01,{DIGEST},x,2026-01-01\n" + f"550.163.01,{DIGEST},y,2026-01-02\n",
            ":3: column 2 (library_sha256): stands in the book already",
        ),
    ],
)
def test_a_malformed_book_is_refused_in_one_line_that_names_the_place(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "book.csv"
    path.write_text(text)
    with pytest.raises(BadTable) as refused:
        read_digest_book(path)
    assert str(refused.value) == f"{path}{problem}"


def test_the_service_does_not_start_with_a_book_that_it_cannot_read(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HOURBOOK_DIGEST_BOOK", str(tmp_path / "missing.csv"))
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == f"{tmp_path}/missing.csv:1: cannot be read: No such file or directory"
