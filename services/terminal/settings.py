"""What can be set about the terminal."""

from pathlib import Path

from services.kit.settings import REPOSITORY
from services.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    """Besides the shared settings: the page's folder, and public addresses where they are not this host's ports."""

    terminal_web: Path = REPOSITORY / "web"
    terminal_market_data_url: str | None = None
    terminal_listings_url: str | None = None
