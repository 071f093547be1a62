"""The closed set of events on the event log: what the engine decided, with everything a view needs and every money
movement.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter

from schemas.events.codes import CancelReason, ContractState, ExpiryReason, RejectCode
from schemas.events.delivery import (
    BlockEnded,
    ClaimPaid,
    ClaimRecorded,
    ContractVoided,
    DifferenceHeld,
    DisputeClosed,
    DisputeOpened,
    FeeReturned,
    GpusNominated,
    GuaranteeDrawn,
    NodeLivenessChanged,
    NodeRegistered,
    PayoutHeld,
    PositionEnded,
    PositionFinalized,
    PositionSettled,
)
from schemas.events.hardware import EscrowOpened, EscrowRefunded, EscrowReleased, HardwareLocked, HardwareUnlocked
from schemas.events.header import Count, Event, Posting, WhyUnfilled
from schemas.events.money import Allocated, Credited, Deallocated, Debited
from schemas.events.orders import (
    AccountOrdersCanceled,
    BatchDone,
    BlockAccepted,
    BlockTrialsBounded,
    CancelDone,
    CancelTimerFired,
    CancelTimerSet,
    CapacityAccepted,
    CapacityRepriced,
    FlexNarrowed,
    OrderAccepted,
    OrderCanceled,
    OrderDisplayed,
    OrderDuplicate,
    OrderExpired,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    Resale,
    ResaleAccepted,
    Trade,
)
from schemas.events.trading import (
    AccountLimitsSet,
    AuctionBlockRejected,
    AuctionIndicated,
    AuctionUncrossed,
    ProtectionSet,
    ProtectionTriggered,
)
from schemas.events.venue import (
    BalanceDigest,
    CommandRejected,
    ContractsListed,
    ContractStateChanged,
    EpochStarted,
    GenesisApplied,
    IndexSet,
    ProductDefined,
    ProductStateChanged,
    RecordRejected,
    RulesetSet,
    ServiceKeySet,
)
from schemas.events.vouchers import (
    AffiliationSet,
    ProgrammeDefined,
    ProgrammeDefunded,
    ProgrammeFunded,
    ProgrammeLapsed,
    VoucherIssued,
    VoucherLapsed,
    VouchersAssigned,
    VouchersHeld,
    VouchersSettled,
)

AnyEvent = Annotated[
    GenesisApplied
    | RulesetSet
    | EpochStarted
    | ServiceKeySet
    | ProductDefined
    | ProductStateChanged
    | ContractsListed
    | ContractStateChanged
    | IndexSet
    | BalanceDigest
    | RecordRejected
    | CommandRejected
    | OrderAccepted
    | BlockAccepted
    | FlexNarrowed
    | BlockTrialsBounded
    | CapacityAccepted
    | CapacityRepriced
    | ResaleAccepted
    | OrderRejected
    | OrderDuplicate
    | OrderCanceled
    | OrderReduced
    | OrderReplaced
    | OrderDisplayed
    | OrderExpired
    | CancelDone
    | AccountOrdersCanceled
    | BatchDone
    | CancelTimerSet
    | CancelTimerFired
    | Trade
    | Credited
    | Debited
    | NodeRegistered
    | NodeLivenessChanged
    | GpusNominated
    | PositionSettled
    | PositionFinalized
    | GuaranteeDrawn
    | ClaimRecorded
    | ClaimPaid
    | HardwareLocked
    | HardwareUnlocked
    | EscrowOpened
    | EscrowReleased
    | EscrowRefunded
    | AuctionIndicated
    | AuctionUncrossed
    | AuctionBlockRejected
    | AccountLimitsSet
    | ProtectionSet
    | ProtectionTriggered
    | Deallocated
    | Allocated
    | ProgrammeDefined
    | ProgrammeFunded
    | ProgrammeDefunded
    | VoucherIssued
    | VouchersHeld
    | VouchersAssigned
    | VouchersSettled
    | VoucherLapsed
    | ProgrammeLapsed
    | AffiliationSet
    | ContractVoided
    | FeeReturned
    | DifferenceHeld
    | DisputeOpened
    | DisputeClosed
    | BlockEnded
    | PositionEnded
    | PayoutHeld,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)

__all__ = [
    "EVENT",
    "AccountLimitsSet",
    "AccountOrdersCanceled",
    "AffiliationSet",
    "Allocated",
    "AnyEvent",
    "AuctionBlockRejected",
    "AuctionIndicated",
    "AuctionUncrossed",
    "BalanceDigest",
    "BatchDone",
    "BlockAccepted",
    "BlockEnded",
    "BlockTrialsBounded",
    "CancelDone",
    "CancelReason",
    "CancelTimerFired",
    "CancelTimerSet",
    "CapacityAccepted",
    "CapacityRepriced",
    "ClaimPaid",
    "ClaimRecorded",
    "CommandRejected",
    "ContractState",
    "ContractStateChanged",
    "ContractVoided",
    "ContractsListed",
    "Count",
    "Credited",
    "Deallocated",
    "Debited",
    "DifferenceHeld",
    "DisputeClosed",
    "DisputeOpened",
    "EpochStarted",
    "EscrowOpened",
    "EscrowRefunded",
    "EscrowReleased",
    "Event",
    "ExpiryReason",
    "FeeReturned",
    "FlexNarrowed",
    "GenesisApplied",
    "GpusNominated",
    "GuaranteeDrawn",
    "HardwareLocked",
    "HardwareUnlocked",
    "IndexSet",
    "NodeLivenessChanged",
    "NodeRegistered",
    "OrderAccepted",
    "OrderCanceled",
    "OrderDisplayed",
    "OrderDuplicate",
    "OrderExpired",
    "OrderReduced",
    "OrderRejected",
    "OrderReplaced",
    "PayoutHeld",
    "PositionEnded",
    "PositionFinalized",
    "PositionSettled",
    "Posting",
    "ProductDefined",
    "ProductStateChanged",
    "ProgrammeDefined",
    "ProgrammeDefunded",
    "ProgrammeFunded",
    "ProgrammeLapsed",
    "ProtectionSet",
    "ProtectionTriggered",
    "RecordRejected",
    "RejectCode",
    "Resale",
    "ResaleAccepted",
    "RulesetSet",
    "ServiceKeySet",
    "Trade",
    "VoucherIssued",
    "VoucherLapsed",
    "VouchersAssigned",
    "VouchersHeld",
    "VouchersSettled",
    "WhyUnfilled",
]
