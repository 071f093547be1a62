"""Named statements of `queries.sql`."""

import pytest

from services.kit.store import NameTaken, named_queries


def test_statements_are_found_by_their_names():
    text = "-- name: first\nselect 1;\n\n-- A remark.\n-- name: second\nselect $1::bigint;\n"
    assert named_queries(text) == {"first": "select 1;\n\n-- A remark.", "second": "select $1::bigint"}


def test_two_statements_of_one_name_are_refused_since_the_first_would_never_run():
    with pytest.raises(NameTaken, match="same"):
        named_queries("-- name: same\nselect 1;\n-- name: same\nselect 2;\n")
