"""Forms of the gateway's REST API: decimal strings and RFC 3339 times outside, turned into commands' micro-units
inside.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from schemas.accounts import Scope
from schemas.base import Model
from schemas.ids import AccountId, ClientOrderId, Contract, Identifier, NodeId, Product, PublicKey
from schemas.measures import OrderId
from schemas.money import DecimalString
from schemas.orders import Periods, Qty, SelfTradePrevention, Side


class Form(Model):
    """A request body: whole JSON types, but times may come as RFC 3339 strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


RequestedTimeInForce = Literal["GTG", "GTC", "GTD", "IOC", "FOK"]
RequestedBlockTimeInForce = Literal["GTG", "GTC", "IOC", "FOK"]
StrictQty = Annotated[Qty, Field(strict=True)]


class OrderForm(Form):
    """POST /v1/orders, kind limit or market."""

    kind: Literal["limit", "market"] = "limit"
    contract: Contract
    side: Side
    qty: StrictQty
    price: DecimalString | None = None
    max_cost: DecimalString | None = None
    tif: RequestedTimeInForce = "GTG"
    post_only: Annotated[bool, Field(strict=True)] = False
    node: NodeId | None = None
    expires: AwareDatetime | None = None
    display_qty: StrictQty | None = None
    min_qty: StrictQty | None = None
    use_vouchers: Annotated[bool, Field(strict=True)] = False
    stp: SelfTradePrevention = "cancel_newest"
    client_order_id: ClientOrderId | None = None


class BlockForm(Form):
    """POST /v1/orders, kind block: the same GPUs over consecutive periods."""

    kind: Literal["block"]
    product: Product
    start: AwareDatetime
    periods: Annotated[Periods, Field(strict=True)]
    qty: StrictQty
    min_qty: StrictQty | None = None
    limit_price: DecimalString
    max_cost: DecimalString | None = None
    tif: RequestedBlockTimeInForce = "GTG"
    use_vouchers: Annotated[bool, Field(strict=True)] = False
    stp: SelfTradePrevention = "cancel_newest"
    client_order_id: ClientOrderId | None = None


class FlexForm(Form):
    """POST /v1/orders, kind flex: a block that starts from `earliest` to `latest`, wherever it is cheapest."""

    kind: Literal["flex"]
    product: Product
    earliest: AwareDatetime
    latest: AwareDatetime
    periods: Annotated[Periods, Field(strict=True)]
    qty: StrictQty
    min_qty: StrictQty | None = None
    limit_price: DecimalString
    max_cost: DecimalString | None = None
    tif: RequestedBlockTimeInForce = "GTG"
    use_vouchers: Annotated[bool, Field(strict=True)] = False
    stp: SelfTradePrevention = "cancel_newest"
    client_order_id: ClientOrderId | None = None


class CapacityForm(Form):
    """POST /v1/orders, kind capacity (scope `operate`): an ask in every period of [from, to) at the floor price or
    curve. All asks end after `ttl_s`. With `split` a whole X8 node stands in the single-GPU book as well.
    """

    kind: Literal["capacity"]
    product: Product
    node: NodeId
    gpus: StrictQty
    from_: Annotated[AwareDatetime, Field(alias="from")]
    to: AwareDatetime
    floor_price: DecimalString | None = None
    floor_curve: Annotated[tuple[DecimalString, ...], Field(min_length=24, max_length=24)] | None = None
    ttl_s: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = None
    split: Annotated[bool, Field(strict=True)] = False
    client_order_id: ClientOrderId | None = None


class RepriceForm(Form):
    """POST /v1/capacity/reprice (scope `operate`): other prices for all asks of a capacity order, named by our id or by
    the client's.
    """

    order_id: Annotated[OrderId, Field(strict=True)] | None = None
    client_order_id: ClientOrderId | None = None
    floor_price: DecimalString | None = None
    floor_curve: Annotated[tuple[DecimalString, ...], Field(min_length=24, max_length=24)] | None = None


class WithdrawForm(Form):
    """POST /v1/capacity/withdraw: cancels the asks of a capacity order, or of a resale, that deliver in [from, to)."""

    order_id: Annotated[OrderId, Field(strict=True)] | None = None
    client_order_id: ClientOrderId | None = None
    from_: Annotated[AwareDatetime, Field(alias="from")]
    to: AwareDatetime


class ResellForm(Form):
    """POST /v1/orders, kind resell: one's own positions again, an ask for every whole period of [from, to) that can
    still be traded; only those of a block, or one position, where that is named.
    """

    kind: Literal["resell"]
    product: Product
    position_id: Annotated[OrderId, Field(strict=True)] | None = None
    block_id: Annotated[OrderId, Field(strict=True)] | None = None
    from_: Annotated[AwareDatetime, Field(alias="from")]
    to: AwareDatetime
    qty: StrictQty
    price: DecimalString
    client_order_id: ClientOrderId | None = None


def _kind_of(form: object) -> object:
    return form.get("kind", "limit") if isinstance(form, dict) else getattr(form, "kind", "limit")


AnyOrderForm = Annotated[
    Annotated[OrderForm, Tag("limit")]
    | Annotated[OrderForm, Tag("market")]
    | Annotated[BlockForm, Tag("block")]
    | Annotated[FlexForm, Tag("flex")]
    | Annotated[CapacityForm, Tag("capacity")]
    | Annotated[ResellForm, Tag("resell")],
    Discriminator(_kind_of),
]
ORDER_FORM: TypeAdapter[AnyOrderForm] = TypeAdapter(AnyOrderForm)


class CancelForm(Form):
    """POST /v1/orders/cancel-all: every order of the account that fits all the filters given. Delivery starts are those
    of [from, to); a block fits if it touches them.
    """

    product: Product | None = None
    contract: Contract | None = None
    side: Side | None = None
    from_: Annotated[AwareDatetime | None, Field(alias="from")] = None
    to: AwareDatetime | None = None


class ReplaceForm(Form):
    """PATCH /v1/orders/{order_id}: other terms for a resting order; what is left out stays. `qty` is the whole
    quantity, with what has traded already.
    """

    qty: StrictQty | None = None
    price: DecimalString | None = None
    expires: AwareDatetime | None = None
    replace_id: ClientOrderId | None = None


class PlaceMember(Form):
    """A member of a batch that places an order."""

    op: Literal["place"]
    order: Annotated[
        Annotated[OrderForm, Tag("limit")]
        | Annotated[OrderForm, Tag("market")]
        | Annotated[BlockForm, Tag("block")]
        | Annotated[FlexForm, Tag("flex")],
        Discriminator(_kind_of),
    ]


class CancelMember(Form):
    """A member of a batch that cancels one order, named by our id or by the client's."""

    op: Literal["cancel"]
    order_id: Annotated[OrderId, Field(strict=True)] | None = None
    client_order_id: ClientOrderId | None = None


class ReplaceMember(ReplaceForm):
    """A member of a batch that replaces one order, named by our id or by the client's."""

    op: Literal["replace"]
    order_id: Annotated[OrderId, Field(strict=True)] | None = None
    client_order_id: ClientOrderId | None = None


MemberForm = Annotated[PlaceMember | CancelMember | ReplaceMember, Discriminator("op")]


class BatchForm(Form):
    """POST /v1/orders/batch: up to 100 commands in one record of the log, applied in turn, each by itself."""

    members: Annotated[tuple[MemberForm, ...], Field(min_length=1, max_length=100)]


class CancelAllAfterForm(Form):
    """POST /v1/cancel-all-after: cancels everything of the account unless it comes again within `timeout_s`; 0 disarms.

    Each session has a timer of its own.
    """

    timeout_s: Annotated[int, Field(strict=True, ge=0, le=86_400)]
    session: Identifier = "rest"


class ProtectionForm(Form):
    """PUT /v1/protection: once `qty` GPUs of the account's resting orders in the product have traded within
    `window_ms`, the rest of them are pulled. Without both: no protection.
    """

    product: Product
    qty: Annotated[Qty, Field(strict=True)] | None = None
    window_ms: Annotated[int, Field(strict=True, ge=1, le=86_400_000)] | None = None


class AccountForm(Form):
    """POST /v1/accounts, signed by an administrator; or by the very key that it brings as the account's first.

    That key's id is made of the key, or it is the account's name.
    """

    account: AccountId
    public_key: PublicKey | None = None
    key_id: Identifier | None = None


class KeyForm(Form):
    """POST /v1/keys (scope `admin`): the venue only ever sees the public half. Without `key_id` it is made of the
    public key.
    """

    account: AccountId
    public_key: PublicKey
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    key_id: Identifier | None = None
    expires: AwareDatetime | None = None
    ip_networks: tuple[str, ...] = ()
    order_limit: DecimalString | None = None


class EnrolmentTokenForm(Form):
    """POST /v1/enrolment-tokens (scope `operate`): a token that binds nodes to the caller's account, one by default."""

    valid_s: Annotated[int, Field(strict=True, ge=1, le=604_800)] = 3_600
    nodes: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1


def unix_seconds(moment: datetime) -> int:
    """Turns a whole-second time into Unix seconds; raises ValueError where there is a fraction."""
    if moment.microsecond:
        raise ValueError("whole seconds only")
    return int(moment.timestamp())


def unix_milliseconds(moment: datetime) -> int:
    """Turns a time into Unix milliseconds; raises ValueError where there is a finer fraction."""
    if moment.microsecond % 1_000:
        raise ValueError("whole milliseconds only")
    return int(moment.replace(microsecond=0).timestamp()) * 1_000 + moment.microsecond // 1_000
