"""Documents that are kept for years and read rarely."""

import zlib


def pack(raw: bytes) -> bytes:
    """Compresses a document."""
    return zlib.compress(raw)


def unpack(raw: bytes) -> bytes:
    """Undoes `pack`."""
    return zlib.decompress(raw)
