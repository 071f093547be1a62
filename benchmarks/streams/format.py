"""The stream file: a 128-byte header with the expected result, then 24-byte commands, all little-endian.

command  operation u8 (0 limit, 1 immediate-or-cancel, 2 cancel, 3 move), side u8, book u16, quantity u32,
         price i32, account u32, order id u64
header   "MEBENCH1", commands that fill the books u32, commands measured u32, books u32, flags u32, greatest order
         id u64, least and greatest price i32, trades u64, quantity u64, checksum u64, live orders u64, live
         quantity u64, cancels u64
checksum h = h * 0x9E3779B97F4A7C15 + (maker * 0x1000003 ^ taker * 0x10001 ^ price * 0x101 ^ quantity) mod 2^64
"""

import struct
from pathlib import Path
from typing import NamedTuple

MAGIC = b"MEBENCH1"
HEADER_BYTES = 128
COMMAND = struct.Struct("<BBHIiIQ")
HEADER = struct.Struct("<8sIIIIQiiQQQQQQ")

LIMIT, IMMEDIATE, CANCEL, MOVE = range(4)
BID, ASK = range(2)


class BadStreamFile(Exception):
    """The file is not a command stream; the message says why."""


class Header(NamedTuple):
    """What a stream holds, and what has to come out of it."""

    fill_commands: int
    commands: int
    books: int
    flags: int
    order_id_max: int
    price_min: int
    price_max: int
    trades: int
    quantity: int
    checksum: int
    live: int
    live_quantity: int
    cancels: int


def read_stream(path: Path) -> tuple[Header, memoryview]:
    """The header of a stream file and its commands."""
    data = path.read_bytes()
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise BadStreamFile(f"{path} is not a command stream: it does not begin with {MAGIC.decode()} and a header")
    header = Header(*HEADER.unpack_from(data)[1:])
    commands = memoryview(data)[HEADER_BYTES:]
    if len(commands) != COMMAND.size * (header.fill_commands + header.commands):
        raise BadStreamFile(f"{path} does not hold the commands that its header counts")
    if header.commands == 0 or header.books == 0:
        raise BadStreamFile(f"{path} has nothing to measure")
    return header, commands


def write_stream(path: Path, header: Header, commands: list[tuple]) -> None:
    """Write a stream file, which appears all at once."""
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as file:
        file.write(HEADER.pack(MAGIC, *header).ljust(HEADER_BYTES, b"\0"))
        file.write(b"".join(COMMAND.pack(*command) for command in commands))
    unfinished.rename(path)
