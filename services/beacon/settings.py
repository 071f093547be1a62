"""What can be set about a beacon."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from schemas.ids import Hub
from services.kit.settings import Settings as KitSettings


class Settings(KitSettings):
    """Besides the shared settings: which hub it speaks for, its key, and how much it measures at once."""

    beacon_hub: Hub
    beacon_key: Path
    beacon_port: int = 18086
    beacon_exchanges: Annotated[int, Field(ge=1, le=100)] = 5
    beacon_trip_s_max: Annotated[float, Field(gt=0)] = 10.0
    beacon_trips_max: Annotated[int, Field(ge=1)] = 1_000
