"""The closed set of records on the command log, and how one is read: canonical bytes, or the record is refused."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from schemas.base import NotCanonical
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    RepriceCapacity,
    Resell,
    SetProtection,
    WithdrawCapacity,
)
from schemas.venue import Genesis, Privileged, Tick

RECORD_BYTES_MAX = 524_288

Command = Annotated[
    PlaceOrder
    | PlaceBlock
    | PostCapacity
    | RepriceCapacity
    | WithdrawCapacity
    | Resell
    | CancelOrder
    | MassCancel
    | ReplaceOrder
    | CancelAllAfter
    | SetProtection
    | PlaceBatch
    | Tick
    | Privileged
    | Genesis,
    Field(discriminator="type"),
]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def read_command(raw: bytes) -> Command:
    """Reads one record. Raises ValueError (ValidationError or NotCanonical) for anything but a command's canonical
    bytes.
    """
    if len(raw) > RECORD_BYTES_MAX:
        raise NotCanonical("oversized record")
    command = COMMAND.validate_json(raw)
    if command.canonical() != raw:
        raise NotCanonical(command.type)
    return command
