"""The command line itself: what it offers, how it refuses, and that a missing browser cannot be overlooked."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Literal, get_args, get_origin

import pytest
from cyclopts import CoercionError

from clients.cli.output import CommandError, show
from console.commands import tests as suites
from console.main import build_app
from infra.places import REPOSITORY


def hourbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "console", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_every_command_that_the_readme_promises_is_there():
    promised = {"up", "down", "status", "logs", "reset", "demo", "play", "join", "test", "bench", "engine"}
    promised |= {"book", "order", "positions", "balance", "listings", "agent", "version", "now"}
    assert promised <= set(build_app())


def test_a_moment_is_printed_as_one_json_document():
    shown = json.loads(hourbook("now", "--json").stdout)
    assert shown["now_ms"] == shown["hour"] * 3_600_000 + shown["into_hour_ms"]
    assert 0 <= shown["into_hour_ms"] < 3_600_000


def test_a_refusal_is_one_line_on_stderr_and_status_1():
    refused = hourbook("logs", "no-such-service")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("hourbook: no log of 'no-such-service'; available: ")
    assert refused.stderr.count("\n") == 1


@pytest.fixture
def pytest_runs(monkeypatch) -> list[list[str]]:
    """Takes down the pytest commands that would be run, and runs none."""
    commands: list[list[str]] = []

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command[3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(suites.subprocess, "run", run)
    return commands


def test_a_suite_is_run_by_name_and_the_rest_goes_to_pytest(pytest_runs):
    assert suites.test("engine", "-k", "cancel") == 0
    assert pytest_runs == [[*suites.SUITES["engine"], "-k", "cancel"]]


def test_without_a_browser_the_page_is_left_out_and_that_is_said_loudly(pytest_runs, monkeypatch, capsys):
    monkeypatch.setattr(suites, "find_browser", lambda: None)
    assert suites.test() == 0
    assert tuple(pytest_runs[0][: len(suites.WORKERS)]) == suites.WORKERS
    assert "tests/browser" not in pytest_runs[0]
    assert capsys.readouterr().err.count("NO BROWSER FOUND: the terminal page is NOT tested.") == 2


def test_with_a_browser_the_page_is_tested(pytest_runs, monkeypatch, capsys):
    monkeypatch.setattr(suites, "find_browser", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(suites, "SUITES", {**suites.SUITES, "browser": ("tests/unit",)})
    suites.test("browser")
    assert (pytest_runs, capsys.readouterr().err) == ([["tests/unit"]], "")


def test_the_tests_of_delivery_are_run_alone_by_name_and_once_among_all(pytest_runs, monkeypatch):
    monkeypatch.setattr(suites, "find_browser", lambda: None)
    suites.test("delivery")
    suites.test()
    assert "tests/unit/agents" in pytest_runs[0]
    assert [path for path in pytest_runs[1] if path.startswith("tests/unit")] == ["tests/unit"]


def test_what_waits_long_is_left_to_ci_and_to_whoever_names_its_suite(pytest_runs, monkeypatch):
    monkeypatch.setattr(suites, "find_browser", lambda: "/usr/bin/chromium")
    for suite in (None, "slow", "delivery"):
        suites.test(suite)
    assert [run[run.index("-m") + 1] if "-m" in run else None for run in pytest_runs] == ["not slow", "slow", None]
    assert set(suites.SUITES["slow"]) >= {"tests/delivery", "tests/browser"}


def test_the_long_run_of_delivery_is_run_by_its_option(pytest_runs):
    suites.test("delivery", "--long", "--leases", "60")
    assert pytest_runs == [["tests/long_run", "--leases", "60"]]


def test_every_test_belongs_to_a_suite():
    named = [*(suites.SUITES | {"slow": ()}).values(), *suites.LONG.values()]
    paths = [path for suite in named for path in suite]
    files = [file.relative_to(REPOSITORY).as_posix() for file in (REPOSITORY / "tests").rglob("test_*.py")]
    assert [file for file in files if not any(file.startswith(f"{path}/") for path in paths)] == []


def test_a_suite_without_tests_is_refused(pytest_runs, monkeypatch):
    monkeypatch.setattr(suites, "SUITES", {**suites.SUITES, "delivery": ("tests/nowhere",)})
    with pytest.raises(CommandError, match="no tests to run for delivery"):
        suites.test("delivery")
    assert pytest_runs == []


def test_rows_are_printed_as_a_table_or_as_json(capsys):
    rows = [{"bid": "12.84", "gpus": 40}]
    show(rows, json=True)
    assert json.loads(capsys.readouterr().out) == rows
    show(rows, json=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["bid", "gpus"], ["12.84", "40"]]
    show([], json=False)
    assert capsys.readouterr().out == "nothing to show\n"


def commands(app, path: tuple[str, ...] = ()):
    """Every command with the words that call it."""
    for name in app:
        if not name.startswith("-"):
            if app[name].default_command:
                yield (*path, name), app[name]
            yield from commands(app[name], (*path, name))


def usual(hint: object) -> str:
    """A text that an argument of this kind takes."""
    if get_origin(hint) is Literal:
        return str(get_args(hint)[0])
    return "2030-01-01T00:00:00Z" if hint is datetime else "7"


def test_f01_every_command_takes_numbers_as_they_are_written_or_not_at_all():
    app, checked = build_app(), 0
    for path, command in commands(app):
        arguments = command.assemble_argument_collection()
        for argument in arguments:
            if "int" in str(argument.hint) or "float" in str(argument.hint):
                checked += 1
                needed = [each for each in arguments if each.required and each is not argument]
                others = [f"{each.name}={usual(each.hint)}" for each in needed]
                for text in ("1_0", "٣"):
                    with pytest.raises(CoercionError, match="plain digits"):
                        given = [*path, f"{argument.name}={text}", *others]
                        app.parse_args(given, exit_on_error=False, print_error=False)
    assert checked > 80


@pytest.mark.parametrize("text", ["1.5", "2.0", "0x10", "0b11", "0o7", "²", "1e3", "nan", "inf", " 1", "+1", "9" * 20])
def test_f01_a_whole_number_is_written_in_plain_digits(text):
    with pytest.raises(CoercionError, match="plain digits"):
        build_app().parse_args(["order", "place", "K", "buy", text], exit_on_error=False, print_error=False)


def test_f01_a_cancel_of_half_an_order_is_refused_before_anything_is_sent():
    refused = hourbook("order", "cancel", "2297.4")
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert "'2297.4' is not a whole number of plain digits" in refused.stderr
