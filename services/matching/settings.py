"""Settings of the matching service."""

from pathlib import Path

from services.kit.settings import Settings


class MatchingSettings(Settings):
    """How often time ticks and snapshots are written, how much is read and sent at once, and from how many records on
    the engine works beside the event loop.
    """

    tick_interval_ms: int = 250
    snapshot_every_offsets: int = 20_000
    snapshot_pause_s: float = 10.0
    snapshots_kept: int = 3
    fetch_records_max: int = 2_000
    fetch_wait_ms: int = 500
    apply_aside_min: int = 256
    stalled_after_s: float = 5.0
    clock_jump_ms_min: int = 60_000
    send_batch_bytes: int = 983_040
    events_waiting_max: int = 100_000

    @property
    def snapshots_dir(self) -> Path:
        """The folder of the engine's snapshots."""
        return self.data / "snapshots"
