"""Cursors name the last row's place; nothing else is taken for one."""

import pytest

from services.kit.cursors import read_cursor, write_cursor
from services.kit.http import ProblemError


@pytest.mark.parametrize("place", [("H100SXM80.CNE.F", 1_795_352_400), ("", 0), ("a", 2**63 - 1)])
def test_a_cursor_gives_back_the_place_that_it_was_made_of(place):
    assert read_cursor(write_cursor(*place), str, int) == place


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "10", "²", "!", "AAAA", "=" * 4),
        *(write_cursor("a"), write_cursor("a", "b"), write_cursor("a", 1, 2), write_cursor("a", 2**63)),
        *(write_cursor("a\x00", 1), write_cursor("a", "٣"), write_cursor("a", -1)),
    ],
)
def test_what_was_never_given_out_is_malformed(cursor):
    with pytest.raises(ProblemError) as refused:
        read_cursor(cursor, str, int)
    assert (refused.value.code, refused.value.status) == ("malformed_request", 400)
