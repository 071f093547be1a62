"""Where Kafka's logs end, read from the files of a broker that is stopped."""

import re
import struct
from pathlib import Path

PARTITION = re.compile(r"^(?!__)[A-Za-z0-9._-]+-\d+$")
# A batch's first bytes: base offset, length of what follows, epoch, magic, checksum, attributes, last offset's delta.
BATCH = struct.Struct(">qiibIhi")
LENGTH_COUNTS_FROM = 12


def ends(folder: Path) -> dict[str, int]:
    """Returns the offset after the last record of every partition, by the name of its folder (`commands.0-0`)."""
    found = (path for path in sorted(folder.iterdir()) if path.is_dir() and PARTITION.match(path.name))
    return {path.name: _end_of(path) for path in found}


def first_batch(partition: Path) -> bytes | None:
    """Returns the bytes of a partition's first batch, which tell one log from any other; None for an empty one."""
    for segment in sorted(partition.glob("*.log"))[:1]:
        with segment.open("rb") as file:
            head = file.read(BATCH.size)
            if len(head) == BATCH.size:
                length = BATCH.unpack(head)[1] + LENGTH_COUNTS_FROM - BATCH.size
                return head + file.read(length)
    return None


def _end_of(partition: Path) -> int:
    segments = sorted(partition.glob("*.log"))
    if not segments:
        return 0
    end, position = int(segments[-1].stem), 0
    with segments[-1].open("rb") as segment:
        size = segments[-1].stat().st_size
        while position + BATCH.size <= size:
            segment.seek(position)
            base, length, _, _, _, _, delta = BATCH.unpack(segment.read(BATCH.size))
            position += LENGTH_COUNTS_FROM + length
            if length <= 0 or position > size:
                break  # a batch that was cut off; the broker cuts it away at its next start
            end = base + delta + 1
    return end
