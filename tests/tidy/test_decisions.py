"""Decision records: each says its number, its decision and its status, and stands in the index just so."""

import re

from infra.places import REPOSITORY

FOLDER = REPOSITORY / "docs" / "decisions"
ROW = re.compile(r"^\| \[(\d+)\]\((\S+)\) \| (.+) \| (.+) \|$", re.MULTILINE)


def written() -> list[tuple[str, str, str, str]]:
    """Returns number, file, decision and status of every record, as the records themselves say them."""
    records = []
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        title, _, rest = path.read_text().partition("\n\n")
        number, decision = title.removeprefix("# ").split(" · ", 1)
        status = rest.splitlines()[0].removeprefix("Status: ").removesuffix(".")
        records.append((number, path.name, decision, status))
    return records


def test_the_index_lists_every_decision_with_its_number_its_words_and_its_status():
    assert ROW.findall((FOLDER / "README.md").read_text()) == written()


def test_a_decisions_number_is_its_files_and_its_status_is_one_that_is_known():
    for number, file, _, status in written():
        assert int(number) == int(file[:4]), file
        assert status.split(".")[0] in ("accepted", "replaced"), file
