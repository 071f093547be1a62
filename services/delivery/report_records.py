"""A report as its record on `meter.reports`: made once, out of the bytes that were signed, and read no second time."""

import zlib
from dataclasses import dataclass

from schemas.nodes import METER_RECORD, MeterRecord, NodeReported

FRESH_MAX = 2_000
PACKING = 1  # zlib's quickest level: field names are most of a record, and any level finds them


@dataclass(frozen=True)
class VerifiedReport:
    """A record whose report was verified by this process, and the report's hash."""

    record: NodeReported
    digest: str


class FreshReports:
    """The records that this process has put on the topic lately, for its own consumer, which is their only reader.

    It takes them by their very bytes, so it gets what was verified here and nothing else; a record that is not among
    them is read and verified again.
    """

    def __init__(self, kept_max: int = FRESH_MAX):
        self._kept_max = kept_max
        self._by_bytes: dict[bytes, VerifiedReport] = {}

    def put(self, value: bytes, report: VerifiedReport) -> None:
        """Keeps a record until it is read, or until too many others have come."""
        self._by_bytes[value] = report
        if len(self._by_bytes) > self._kept_max:
            del self._by_bytes[next(iter(self._by_bytes))]

    def read(self, value: bytes) -> MeterRecord | VerifiedReport:
        """Reads a record of the topic. Raises pydantic.ValidationError."""
        known = self._by_bytes.pop(value, None)
        return METER_RECORD.validate_json(value) if known is None else known


def record_bytes(node_id: str, received_ms: int, nonce_issued_ms: int | None, signed: bytes, signature: str) -> bytes:
    """Returns the canonical bytes of a NodeReported around a report, of which `signed` are the signing bytes."""
    issued = "null" if nonce_issued_ms is None else nonce_issued_ms
    head = f'{{"type":"node_reported","node_id":"{node_id}","received_ms":{received_ms},"nonce_issued_ms":{issued}'
    report = signed[signed.index(b"\n") + 1 : -1]
    return b'%s,"report":%s,"signature":"%s"}}' % (head.encode(), report, signature.encode())


def pack_record(value: bytes) -> bytes:
    """Returns what the table keeps of a record."""
    return zlib.compress(value, PACKING)


def unpack_record(kept: bytes) -> bytes:
    """Undoes `pack_record`; rows from before records were packed are the records themselves."""
    return kept if kept.startswith(b"{") else zlib.decompress(kept)
