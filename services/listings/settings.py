"""What can be set about listings."""

from services.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    """Besides the shared settings: how long news gathers, how long things may take, and what the venue earns."""

    event_linger_s: float = 0.2
    listings_inspection_age_ms_max: int = 86_400_000
    listings_inspection_period_ms: int = 5 * 86_400_000
    listings_fee_bps: int = 100
    listings_page_rows_max: int = 100
