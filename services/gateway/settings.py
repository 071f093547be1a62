"""The gateway's own settings beside the shared ones."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.kit.settings import Settings


class GatewaySettings(Settings):
    """Time to wait for the engine, time for commands to gather behind undecided ones, request budgets for each key,
    page sizes, limits of the private feeds.
    """

    answer_timeout_s: float = 5.0
    gather_s: float = 0.05
    orders_per_s: int = 4_000
    cancels_per_s: int = 8_000
    reads_per_s: int = 1_000
    socket_messages_per_s: int = 50
    sessions_per_key_max: int = 20
    burst_s: float = 2.0
    open_sign_up: bool = True  # whether strangers may open accounts
    sign_ups_per_hour: Annotated[int, Field(ge=1)] = 20  # by each address
    sign_ups_per_hour_of_all: Annotated[int, Field(ge=1)] = 2_000
    keys_file: Path | None = None  # the keys' records beside both stores; None: in the gateway's folder of keys
    log_lookups_kept_max: int = 10_000  # commands that were read of the log again for a repeat
    log_lookup_within_s: float = 3.0
    log_lookup_requests: int = 200  # so many orders a look into the log takes off the caller's budget
    page_size: int = 100
    page_size_max: int = 500
    flush_pause_s: float = 0.25
    unflushed_rows_max: int = 500_000
    read_wait_s: float = 3.0
    feed_queue_max: int = 10_000
    feed_login_s: float = 10.0
    feed_heartbeat_s: float = 1.0

    @property
    def keys_file_path(self) -> Path:
        """Where the keys' records are kept beside both stores."""
        return self.keys_file or self.keys_dir / "gateway" / "records.jsonl"
