"""What can be set about listings."""

from schemas.money import parse_micros
from services.kit.settings import Settings as KitSettings
from services.listings.domain import Periods
from services.listings.goods import Board


class Settings(KitSettings):
    """Besides the shared settings: how long news gathers, how long things may take, and what the venue earns.

    The days of a sale are of `listings_day_ms`, so that a sandbox shortens all its deadlines by one figure.
    """

    event_linger_s: float = 0.2
    listings_inspection_age_ms_max: int = 86_400_000
    listings_price_per_gpu_min: str = "1.00"
    listings_price_per_gpu_max: str = "10000000.00"
    listings_currencies: tuple[str, ...] = ("CNY", "USD")
    listings_day_ms: int = 86_400_000
    listings_ship_days: int = 5
    listings_receive_days: int = 14
    listings_inspect_days: int = 5
    listings_return_days: int = 14
    listings_confirm_days: int = 14
    listings_dispute_days: int = 30
    listings_engine_answer_ms: int = 600_000
    listings_outage_ms: int = 60_000
    listings_clock_interval_s: float = 0.5
    listings_fee_bps: int = 100
    listings_page_rows_max: int = 100

    @property
    def board(self) -> Board:
        """What may be listed; the currencies are those of hubs that trade nothing yet."""
        return Board(
            inspection_age_ms_max=self.listings_inspection_age_ms_max,
            price_micros_min=parse_micros(self.listings_price_per_gpu_min),
            price_micros_max=parse_micros(self.listings_price_per_gpu_max),
            fee_bps=self.listings_fee_bps,
            currencies=self.listings_currencies,
        )

    @property
    def periods(self) -> Periods:
        """How long a listing may stay in each state."""
        return Periods(
            ship=self.listings_ship_days * self.listings_day_ms,
            receive=self.listings_receive_days * self.listings_day_ms,
            inspect=self.listings_inspect_days * self.listings_day_ms,
            give_back=self.listings_return_days * self.listings_day_ms,
            confirm=self.listings_confirm_days * self.listings_day_ms,
            dispute=self.listings_dispute_days * self.listings_day_ms,
            engine=self.listings_engine_answer_ms,
        )
