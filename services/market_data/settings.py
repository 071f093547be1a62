"""What can be set about market_data."""

from pathlib import Path

from services.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    """Besides the shared settings: how long news gathers, how far readers may fall behind, how long the feed
    remembers, how often tables and snapshots of the view are written and how much may wait for that.
    """

    market_data_linger_s: float = 0.02
    market_data_ring_span_ms: int = 300_000
    market_data_ring_messages_max: int = 200_000
    market_data_reader_messages_max: int = 4_096
    market_data_reader_streams_max: int = 2_000
    market_data_streams_per_s: int = 500
    market_data_streams_burst_s: float = 20.0
    market_data_page_rows_max: int = 1_000
    market_data_write_pause_s: float = 0.25
    market_data_unwritten_rows_max: int = 200_000
    market_data_fold_every_events: int = 200_000
    market_data_fold_every_s: float = 600.0

    @property
    def view_snapshots_dir(self) -> Path:
        """The folder of the view's snapshots; its name on disk is older than theirs in the code."""
        return self.data / "folds"
