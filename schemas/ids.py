"""Names of accounts, products, contracts and nodes, and how a contract's name is made from its delivery start."""

from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from pydantic import Field

HOUR_S = 3600

# Identifiers never need escaping in JSON, so that the engine's encoder and the models agree to the byte.
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
ClientOrderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/+=@-]{1,64}$")]
AccountId = Identifier
NodeId = Identifier
Asset = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.]{2,31}$")]
Grade = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$")]
Hub = Annotated[str, Field(pattern=r"^[A-Z]{2,4}$")]
Tier = Literal["F", "I", "M"]
Product = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}\.[A-Z]{2,4}\.[FIM]$")]
Contract = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}\.[A-Z]{2,4}\.[FIM]-([0-9]{8}|[0-9]{12})$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
GpuUuid = Annotated[str, Field(pattern=r"^GPU-[0-9a-f-]{8,36}$")]


def contract_name(product: str, start_s: int, period_s: int) -> str:
    """Names the contract whose delivery starts at `start_s` (Unix seconds): YYMMDDHH for one-hour periods, else
    YYMMDDHHMMSS.
    """
    digits = "%y%m%d%H" if period_s == HOUR_S else "%y%m%d%H%M%S"
    return f"{product}-{datetime.fromtimestamp(start_s, UTC).strftime(digits)}"


def contract_start_s(contract: str) -> int:
    """Returns the delivery start in Unix seconds. Raises ValueError for an impossible date."""
    digits = contract.rpartition("-")[2]
    return int(datetime.strptime(digits.ljust(12, "0"), "%y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())


def product_of(contract: str) -> str:
    """Returns the product part of a contract's name."""
    return contract.rpartition("-")[0]


def tier_of(contract: str) -> Tier:
    """Returns the tier of a contract's product."""
    return cast(Tier, product_of(contract).rpartition(".")[2])


def lot_of(grade: str) -> int:
    """Returns the lot in GPUs: a grade that ends in X8 is a whole eight-GPU node."""
    return 8 if grade.endswith("X8") else 1
