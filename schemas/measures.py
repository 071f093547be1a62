"""Counted quantities that orders, the venue's commands and nodes share, and the levels of trust."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.money import COUNTER_MAX

Level = Literal["T0", "T1", "T2", "T3"]
GpuSeconds = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=COUNTER_MAX)]
OrderId = Annotated[int, Field(ge=1, le=COUNTER_MAX)]
