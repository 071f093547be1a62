"""Runs the real agent on a machine whose boot id and clocks the long run sets: `agent_main FOLDER --config FILE`.

FOLDER/boot has the boot id and what the monotonic clock started from; FOLDER/wall_offset_ms moves the wall clock.
"""

import sys
import time
from pathlib import Path

from agents.node import cli, identity


def main() -> int:
    """Replaces what a machine gives its programs, and becomes the agent."""
    folder = Path(sys.argv.pop(1))
    boot_id, base_ns = (folder / "boot").read_text().split()
    (folder / "boot_id").write_text(boot_id + "\n")
    identity.BOOT_ID = folder / "boot_id"
    offset = folder / "wall_offset_ms"
    wall_ns, mono_ns = time.time_ns, time.monotonic_ns
    time.time_ns = lambda: wall_ns() + int(offset.read_text()) * 1_000_000
    time.time = lambda: time.time_ns() / 1e9
    time.monotonic_ns = lambda: mono_ns() - int(base_ns)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
