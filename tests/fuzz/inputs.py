"""Mutated bytes: a good text with pieces of it changed, lost, doubled, moved, or taken from another."""

import random
from collections.abc import Sequence

PIECES = (
    *(b"", b" ", b"0", b"00", b"-", b"-1", b"1e3", b".", b'"', b"\\", b"\\u0061", b"null", b"true", b"false", b"\x00"),
    *(b"\xff", b"\xc3\xa9", b",", b"}", b"{", b"[", b"]", b":", b"9223372036854775808", b"18446744073709551616"),
    *(b"4000000000000000001", b"1000000000001", b"1000001", b"a" * 65, b'"type":"tick"', b"NaN", b"\n", b"{}"),
)
ROUNDS = (1, 1, 1, 1, 2, 3, 8)


def mutate(dice: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """One input: mostly a change or two, seldom many."""
    raw = bytearray(text)
    for _ in range(dice.choice(ROUNDS)):
        change_once(dice, raw, others)
    return bytes(raw)


def change_once(dice: random.Random, raw: bytearray, others: Sequence[bytes]) -> None:
    place = dice.randrange(len(raw) + 1)
    reach = min(len(raw), place + dice.choice((0, 1, 1, 2, 5, 30)))
    kind = dice.randrange(6)
    if kind == 0 and place < len(raw):
        raw[place] ^= 1 << dice.randrange(8)
    elif kind == 1:
        raw[place:reach] = dice.choice(PIECES)
    elif kind == 2:
        raw[place:place] = raw[place:reach]
    elif kind == 3:
        del raw[place:reach]
    elif kind == 4:
        other = dice.choice(others)
        first = dice.randrange(len(other) + 1)
        raw[place:reach] = other[first : first + dice.choice((1, 5, 20, 60))]
    else:
        raw[place:reach] = dice.randbytes(reach - place)
