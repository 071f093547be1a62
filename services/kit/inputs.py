"""What no request may hold, whoever reads it: control characters, broken text, numbers that no table can keep."""

import re
from urllib.parse import unquote_to_bytes

NUMBER_MAX = 2**63 - 1  # PostgreSQL's bigint
# Control characters but for tab, line feed and carriage return: the only ones that may stand in a JSON text.
CONTROL_BYTES = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})
# In UTF-8: the second row of control characters, and halves of surrogate pairs, which are no characters.
BEYOND_ASCII = re.compile(rb"\xc2[\x80-\x9f]|\xed[\xa0-\xbf]")
ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
HOST = re.compile(rb"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{0,255})(:[0-9]{1,5})?")
IN_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
DIGITS = re.compile(r"[0-9]{1,19}")
HIGH_HALVES, LOW_HALVES = range(0xD800, 0xDC00), range(0xDC00, 0xE000)


def complaint_about(path: str, query: bytes, host: bytes, body: bytes) -> str | None:
    """Says what makes a request unreadable, or None. `path` is decoded, `query` and `host` are as sent.

    Everything that a store, a log or another reader could choke on is found here once, so that no route needs to look.
    """
    if IN_TEXT.search(path):
        return "path: has a control character, or is not UTF-8"
    if query and not _is_clean_query(query):
        return "query: has a control character, or is not UTF-8"
    if not HOST.fullmatch(host):
        return "Host: is no host"
    if body and not _is_clean_json(body):
        return "body: has a control character, or is not UTF-8"
    return None


def read_number(text: str, at_most: int = NUMBER_MAX) -> int | None:
    """Reads a number of plain digits, 0 to `at_most`; None for anything else, other scripts' digits included."""
    number = int(text) if DIGITS.fullmatch(text) else NUMBER_MAX + 1
    return number if number <= at_most else None


def _is_clean_query(query: bytes) -> bool:
    try:
        text = unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        return False
    return IN_TEXT.search(text) is None


def _is_clean_json(body: bytes) -> bool:
    if len(body.translate(None, CONTROL_BYTES)) != len(body):
        return False
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
        if BEYOND_ASCII.search(body):
            return False
    return b"\\" not in body or _are_clean_escapes(body)


def _are_clean_escapes(body: bytes) -> bool:
    high_ends = None  # where a high half ended; its low half follows at once
    for escape in ESCAPE.finditer(body):
        code = int(escape[1], 16) if escape[1] else ord("x")
        if (high_ends is not None) != (code in LOW_HALVES) or (high_ends not in (None, escape.start())):
            return False
        is_control = code < 0x20 or 0x7F <= code < 0xA0
        if (is_control and code not in (0x09, 0x0A, 0x0D)) or escape[2] in (b"b", b"f"):
            return False
        high_ends = escape.end() if code in HIGH_HALVES else None
    return high_ends is None
