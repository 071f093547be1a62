"""The tree keeps its habits: short files, functions and lines; what a document or a statement names is there."""

import ast
import re
import subprocess
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from infra.places import REPOSITORY

LINES_MAX, FUNCTION_MAX, WIDTH_MAX = 400, 70, 120
# Longer than they should be. These figures may only fall: who splits a file takes its line out.
LONGER = {
    "agents/node/hooks/server.py": 434,
    "agents/node/node.py": 407,
    "agents/node/nvml_child.py": 407,
    "console/demo/script.py": 408,
    "matching_engine/snapshots/save.pyx": 409,
    "schemas/delivery.py": 615,
    "schemas/market_data.py": 532,
    "schemas/nodes.py": 766,
    "schemas/venue.py": 453,
    "tests/engine/random_log.py": 565,
    "tests/fakes/venue.py": 514,
    "tests/integration/delivery/test_delivery_path.py": 436,
    "tests/integration/ledger/test_ledger_service.py": 464,
    "tests/long_run/truth.py": 559,
    "tests/scenarios/script.py": 626,
    "tests/unit/agents/test_node.py": 525,
    "tests/unit/agents/test_nvml_failures.py": 462,
    "tests/unit/services/delivery/test_meter.py": 612,
}
TABLES = ("tests/mutants/services_bank.py",)  # one row for each seeded bug
LONGER_FUNCTIONS = {
    ("services/delivery/api.py", "add_party_routes"): 77,
    (
        "tests/integration/delivery/test_disputes.py",
        "test_a_dispute_is_decided_by_rules_or_by_inputs_and_never_by_a_stranger",
    ): 91,
}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
STATEMENT = re.compile(r"^-- name: (\w+)", re.MULTILINE)


def tracked(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Yields the paths and texts of the repository's own files."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = REPOSITORY / name
        if path.suffix in suffixes and path.is_file():
            yield name, path.read_text()


def test_no_file_is_longer_than_four_hundred_lines():
    longer = {name: len(text.splitlines()) for name, text in tracked(".py", ".pyx", ".pxd", ".js")}
    longer = {name: lines for name, lines in longer.items() if lines > LINES_MAX and name not in TABLES}
    assert {name: lines for name, lines in longer.items() if lines > LONGER.get(name, LINES_MAX)} == {}
    assert LONGER.keys() - longer.keys() == set()


def test_no_function_is_longer_than_seventy_lines():
    longer = {
        (name, node.name): node.end_lineno - node.lineno + 1
        for name, text in tracked(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= FUNCTION_MAX
    }
    assert {each: lines for each, lines in longer.items() if lines > LONGER_FUNCTIONS.get(each, FUNCTION_MAX)} == {}
    assert LONGER_FUNCTIONS.keys() - longer.keys() == set()


def test_every_module_says_what_it_is_for():
    modules = ((name, text) for name, text in tracked(".py") if not name.endswith(("__init__.py", "conftest.py")))
    silent = [
        name for name, text in modules if not name.startswith("tests/") and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_every_file_that_a_document_links_to_is_there():
    links = ((name, link) for name, text in tracked(".md") for link in LINK.findall(text))
    own = [(name, link) for name, link in links if "://" not in link and not link.startswith("mailto:")]
    lost = [(name, link) for name, link in own if not (REPOSITORY / name).parent.joinpath(link).exists()]
    assert lost == []


def test_every_statement_of_a_service_is_used():
    sources = dict(tracked(".py"))
    unused = []
    for name, text in tracked(".sql"):
        folder = Path(name).parent
        own = "\n".join(code for path, code in sources.items() if folder in Path(path).parents)
        names = (rf"\b({each}\b|{each.partition('_')[0]}_{{)" for each in STATEMENT.findall(text))  # or f"save_{table}"
        unused += [(name, each) for each in names if not re.search(each, own)]
    assert unused == []


def test_no_modules_of_a_service_import_each_other_in_a_circle():
    trees = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): ast.parse(text)
        for name, text in tracked(".py")
        if name.startswith("services/")
    }
    imports = {module: {each for each in imported_by(tree) if each in trees} for module, tree in trees.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' → '.join(error.args[1])}") from None


def imported_by(tree: ast.Module) -> Iterator[str]:
    """Yields the names that a module imports from, and of each `from` also what may be a module in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
