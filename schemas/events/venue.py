"""Events of the venue: genesis, epochs, keys, products, contracts, indexes, refusals of records."""

from typing import Literal

from schemas.events.codes import ContractState, RejectCode
from schemas.events.header import Count, Event
from schemas.ids import Contract, Digest, Identifier, Product
from schemas.measures import Milliseconds
from schemas.money import Price
from schemas.orders import UnixSeconds
from schemas.venue import (
    DefineProduct,
    ProductState,
    Source,
)


class GenesisApplied(Event):
    """The log began."""

    type: Literal["genesis_applied"] = "genesis_applied"
    ruleset: int
    sources: tuple[Source, ...]


class RulesetSet(Event):
    """The engine goes on by these rules."""

    type: Literal["ruleset_set"] = "ruleset_set"
    ruleset: int


class EpochStarted(Event):
    """A new engine process took over."""

    type: Literal["epoch_started"] = "epoch_started"
    epoch: int


class ServiceKeySet(Event):
    """A source's batches are checked with another key from now on."""

    type: Literal["service_key_set"] = "service_key_set"
    source: Source


class ProductDefined(Event):
    """A product's terms as they stand."""

    type: Literal["product_defined"] = "product_defined"
    terms: DefineProduct


class ProductStateChanged(Event):
    """Trading in a product was opened, halted or restricted; `opens_ms` is when an AUCTION ends by itself."""

    type: Literal["product_state_changed"] = "product_state_changed"
    product: Product
    state: ProductState
    reason: Identifier
    opens_ms: Milliseconds | None = None


class ContractsListed(Event):
    """Contracts of a product opened: every period that starts in [first_start_s, last_start_s].

    Only what is new is named; after a long silence of the log the contracts whose gate has passed meanwhile never open.
    """

    type: Literal["contracts_listed"] = "contracts_listed"
    product: Product
    period_s: Count
    first_start_s: UnixSeconds
    last_start_s: UnixSeconds


class ContractStateChanged(Event):
    """A contract reached its gate, its delivery or its end. Never traded: EXPIRED at the gate, and nothing further."""

    type: Literal["contract_state_changed"] = "contract_state_changed"
    contract: Contract
    state: ContractState
    positions: Count


class IndexSet(Event):
    """The index of a contract is fixed."""

    type: Literal["index_set"] = "index_set"
    contract: Contract
    index_micros: Price
    level: int
    method: Identifier
    inputs_digest: Digest


class BalanceDigest(Event):
    """SHA-256 over all balances, after the records whose offset divides by 4,096, for the ledger to compare.

    One line `account|asset|available|held\\n` for each pair of account and asset that a posting ever named (zeros too),
    in the byte order of account, then asset. It is the last event of its record.
    """

    type: Literal["balance_digest"] = "balance_digest"
    digest: Digest


class RecordRejected(Event):
    """A record of the log could not be taken: broken bytes, a bad signature, a duplicate or a gap in a source's
    numbers.
    """

    type: Literal["record_rejected"] = "record_rejected"
    source: Source | None
    number: int | None
    code: RejectCode


class CommandRejected(Event):
    """One command of a privileged batch broke a rule; the others of the batch stand."""

    type: Literal["command_rejected"] = "command_rejected"
    source: Source
    number: int
    position: Count
    command: Identifier
    code: RejectCode
