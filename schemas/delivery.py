"""What delivery tells others: the events on `delivery.events`, the meter's inputs and outcome, what users read."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Model, added
from schemas.hubs import HubView
from schemas.ids import AccountId, Asset, Contract, Digest, GpuUuid, Grade, Hub, Identifier, NodeId
from schemas.measures import GpuSeconds, Level, Milliseconds
from schemas.nodes import Count, GpuInventory, InspectionReport, Name, PositionId, Text

NodeState = Literal["enrolled", "active", "quarantined", "lost", "banned", "retired"]
LeaseState = Literal["pending", "ready", "started", "failed", "ended"]
Quality = Literal["A", "O", "B", "E", "M"]
VENUE = "venue"


# -- the topic `delivery.events`, keyed by node ----------------------------------------------------------------------


class DeliveryHeader(Model):
    """The header of every event here; `seq` is this topic's own, without holes once repeats are dropped.

    `simulated`: the node's GPUs are those of the stand-in library, which only a sandbox takes.
    """

    type: str
    seq: Annotated[int, Field(ge=1)]
    ts_ms: Milliseconds
    node: NodeId
    simulated: bool = added(False)


class NodeAdmitted(DeliveryHeader):
    """A node enrolled with its operator's one-time token. It sells nothing before it has passed a challenge."""

    type: Literal["node_enrolled"] = "node_enrolled"
    account: AccountId
    grade: Grade
    hub: Hub
    gpus: tuple[GpuInventory, ...]


class ChallengePassed(DeliveryHeader):
    """All GPUs asked showed their work in time, and scored within their band (see `ChallengeVerdict`)."""

    type: Literal["challenge_passed"] = "challenge_passed"
    challenge_id: Identifier
    cause: Literal["enrolment", "gate", "idle", "renter"]
    gpus: tuple[GpuUuid, ...]
    band: Text = added("")


class ChallengeFailed(DeliveryHeader):
    """At least one GPU showed wrong work, or none in time; `reason` is the first one found."""

    type: Literal["challenge_failed"] = "challenge_failed"
    challenge_id: Identifier
    cause: Literal["enrolment", "gate", "idle", "renter"]
    reason: Text
    band: Text = added("")


class NodeStateChanged(DeliveryHeader):
    """A node came up, went down, or has other GPUs to offer; `reason` says why."""

    type: Literal["node_state_changed"] = "node_state_changed"
    state: NodeState
    level: Level
    reason: Text
    gpus: tuple[GpuUuid, ...]


class LevelHoldChanged(DeliveryHeader):
    """Something freezes the node's level, or does not any more; bond and asks stay as they are. `detail` is what was
    seen.
    """

    type: Literal["level_hold_changed"] = "level_hold_changed"
    reason: Identifier
    held: bool
    detail: Text


class NodeAudited(DeliveryHeader):
    """A person of the venue has looked at the node's machine; level T3 needs that for as long as it is valid."""

    type: Literal["node_audited"] = "node_audited"
    reason: Identifier
    audited_by: AccountId
    valid_until_ms: Milliseconds


class DisprovenTime(Model):
    """Time of a GPU between the last proof that it passed and one that its node failed: nothing of it was proven."""

    challenge_id: Identifier
    gpu: GpuUuid
    start_ms: Milliseconds
    end_ms: Milliseconds


class DeliveryDisproven(DeliveryHeader):
    """A node failed a proof: what its GPUs delivered since the last one that they passed pays nothing, unless it is
    final.
    """

    type: Literal["delivery_disproven"] = "delivery_disproven"
    times: Annotated[tuple[DisprovenTime, ...], Field(min_length=1)]


class DriverDigestAdded(DeliveryHeader):
    """A person of the venue passed on which library a driver comes with, and whence; `node` is `venue`."""

    type: Literal["driver_digest_added"] = "driver_digest_added"
    driver_version: Name
    library_sha256: Digest
    source: Text
    added_by: AccountId


class LeaseStarted(DeliveryHeader):
    """The operator's hook let the buyer in."""

    type: Literal["lease_started"] = "lease_started"
    lease_id: Identifier
    contract: Contract
    gpus: tuple[GpuUuid, ...]


class LeaseEnded(DeliveryHeader):
    """A lease is over, as agreed or because it failed."""

    type: Literal["lease_ended"] = "lease_ended"
    lease_id: Identifier
    contract: Contract
    ok: bool
    reason: Text


class PositionMetered(DeliveryHeader):
    """The meter's word on a position, as it went into the `settle_position` command; `two_sided`: a renter's meter had
    a say.
    """

    type: Literal["position_metered"] = "position_metered"
    position_id: PositionId
    contract: Contract
    revision: Annotated[int, Field(ge=1)]
    contracted_gpu_s: GpuSeconds
    delivered_gpu_s: GpuSeconds
    excused_gpu_s: GpuSeconds
    meter_digest: Digest
    disputed_gpu_s: GpuSeconds = added(0)
    two_sided: bool = added(False)


class ReceiptIssued(DeliveryHeader):
    """A position was settled; its parties can fetch the receipt."""

    type: Literal["receipt_issued"] = "receipt_issued"
    position_id: PositionId
    contract: Contract
    revision: Annotated[int, Field(ge=1)]
    meter_digest: Digest


class VenueOutage(DeliveryHeader):
    """The venue could not take reports from `from_ms` to `to_ms`, as it saw itself; nobody pays for that. `node` is
    `venue`: it concerns them all.
    """

    type: Literal["venue_outage"] = "venue_outage"
    from_ms: Milliseconds
    to_ms: Milliseconds
    cause: Literal["service_stopped", "slow", "refused"]


class MaintenanceDeclared(DeliveryHeader):
    """An operator declared maintenance: what is traded on the node from now on is excused in this window."""

    type: Literal["maintenance_declared"] = "maintenance_declared"
    maintenance_id: Identifier
    start_ms: Milliseconds
    end_ms: Milliseconds


class GpusRecalled(DeliveryHeader):
    """The operator of an interruptible position takes GPUs back (none named: all) from `from_ms` on."""

    type: Literal["gpus_recalled"] = "gpus_recalled"
    recall_id: Identifier
    position_id: PositionId
    contract: Contract
    gpus: tuple[GpuUuid, ...]
    from_ms: Milliseconds
    noticed: bool


class GpuPassport(Model):
    """What the venue itself knows of a GPU: what enrolment was told, and what all its reports came to, over all nodes.

    `serial_elsewhere`: another GPU stands in the venue under this serial. Counters are the highest ever shown, null
    where none was told; `counters_went_back`: one was lower later on. `reports` 0: it never reported.
    """

    uuid: GpuUuid
    serial: Identifier
    name: Text
    memory_mib: Count
    grade: Grade
    serial_elsewhere: bool
    first_ms: Milliseconds | None = None
    last_ms: Milliseconds | None = None
    reports: Count = 0
    reported_ms: Count = 0
    throttled_ms: Count = 0
    temperature_c_max: int | None = None
    ecc_corrected: Count | None = None
    ecc_uncorrected: Count | None = None
    remapped_correctable: Count | None = None
    remapped_uncorrectable: Count | None = None
    remap_failed: bool = False
    xids: tuple[Count, ...] = ()
    counters_went_back: bool = False
    simulated: bool = added(False)


class DisputeChanged(DeliveryHeader):
    """A position's dispute was opened, decided or withdrawn; `revision` is what the position stands at."""

    type: Literal["dispute_changed"] = "dispute_changed"
    position_id: PositionId
    contract: Contract
    opened_by: Literal["buyer", "operator", "venue"]
    reason: Identifier
    state: Literal["OPEN", "DECIDED", "WITHDRAWN"]
    decided_by: Literal["rules", "arbiter", "deadline", "opener", "engine"] | None
    outcome: Literal["", "corrected", "confirmed", "refused"]
    revision: Annotated[int, Field(ge=1)]


class HardwareInspected(DeliveryHeader):
    """An inspection report of GPUs, whole, for a sale to carry, with what the venue itself knows of them.

    `account` is the node's operator, or the buyer who asked for the nonce where the key is no node's. `state`, `hub`
    and `node_gpus` are the enrolled node's (null: not enrolled), `currencies` those of the hub's products, `passports`
    has the GPUs that are the node's own.
    """

    type: Literal["hardware_inspected"] = "hardware_inspected"
    inspection_id: Digest
    account: AccountId
    report: InspectionReport
    state: NodeState | None = None
    hub: Hub | None = None
    node_gpus: Count | None = None
    currencies: tuple[Asset, ...] = ()
    passports: tuple[GpuPassport, ...] = ()


DeliveryEvent = Annotated[
    NodeAdmitted
    | ChallengePassed
    | ChallengeFailed
    | NodeStateChanged
    | LevelHoldChanged
    | NodeAudited
    | DeliveryDisproven
    | DriverDigestAdded
    | LeaseStarted
    | LeaseEnded
    | PositionMetered
    | ReceiptIssued
    | DisputeChanged
    | HardwareInspected
    | VenueOutage
    | MaintenanceDeclared
    | GpusRecalled,
    Field(discriminator="type"),
]
DELIVERY_EVENT: TypeAdapter[DeliveryEvent] = TypeAdapter(DeliveryEvent)


# -- the meter -------------------------------------------------------------------------------------------------------


class MeteredReport(Model):
    """One report that the meter used: its hash (`message_hash`), and what the server's clock said."""

    seq: Annotated[int, Field(ge=1)]
    hash: Digest
    received_ms: Count
    nonce_issued_ms: Count | None


class Witness(Model):
    """Somebody besides the operator saw a lease's GPUs at work from start to end: the renter's meter, or the venue at
    the door.
    """

    start_ms: Milliseconds
    end_ms: Milliseconds
    kind: Literal["renter", "door"]


class Excuse(Model):
    """Time for which nobody pays: the venue could not take reports, or maintenance was declared before the trade."""

    start_ms: Milliseconds
    end_ms: Milliseconds
    kind: Literal["venue_outage", "maintenance"]


class Recall(Model):
    """The operator of an interruptible position takes GPUs back (none named: all) from `from_ms` on."""

    gpus: tuple[GpuUuid, ...]
    from_ms: Milliseconds
    declared_ms: Milliseconds


class ShutDoor(Model):
    """Every try of the venue at the lease's door failed from start to end: nobody got in, whatever ran there."""

    start_ms: Milliseconds
    end_ms: Milliseconds


class MeterInputs(Model):
    """Everything that the meter of one position reads; its `meter_digest` is SHA-256 of these canonical bytes.

    The window is [start_ms, end_ms). `gpus` are the nominated ones, `offered_ms` is when the venue handed the lease
    out, `access_ms` when the buyer got in (null: never), `released_ms` when a stop was answered before the end,
    `provisional_ms` until when reports written while the node was not heard count for more than the gap limit.
    `renter_reports` are those of the renter's own meter; `differences` says whose word stands where it saw a fault that
    the operator's did not (`held`: that is not decided). `disproven` is what failed proofs took back.
    """

    position_id: PositionId
    contract: Contract
    node: NodeId
    lease_id: Identifier | None
    qty: Annotated[int, Field(ge=1)]
    gpus: tuple[GpuUuid, ...]
    start_ms: Milliseconds
    end_ms: Milliseconds
    offered_ms: Milliseconds | None
    access_ms: Milliseconds | None
    released_ms: Milliseconds | None
    memory_min_mib: Count
    gap_ms_max: Milliseconds
    throttle_ms_max: Milliseconds
    reports: tuple[MeteredReport, ...]
    opening_grace_ms: Milliseconds = added(0)
    notice_ms: Milliseconds = added(0)
    provisional_ms: Milliseconds | None = added()
    witnesses: tuple[Witness, ...] = added(())
    excuses: tuple[Excuse, ...] = added(())
    recalls: tuple[Recall, ...] = added(())
    unreachable: tuple[ShutDoor, ...] = added(())
    renter_reports: tuple[MeteredReport, ...] = added(())
    differences: Literal["held", "operator", "renter"] = added("held")
    disproven: tuple[DisprovenTime, ...] = added(())


class MeterInterval(Model):
    """A stretch of one GPU's window in server time: how well it is known, whether it counts, and if not, why.

    An excused stretch counts for neither side: it is not paid, and it costs no damages.
    """

    gpu: GpuUuid
    start_ms: Milliseconds
    end_ms: Milliseconds
    quality: Quality
    conforming: bool
    used: bool
    reason: Text
    excused: bool = added(False)
    disputed: bool = added(False)


class MeterOutcome(Model):
    """What the meter made of its inputs: D, E and U of the settlement, and the intervals they were summed from.

    `recalled_gpus` and `noticed` are those of an interruptible position: how many GPUs the operator took back or lost,
    those without notice where there are any, else those with notice. Where two meters are apart, D and U are the lower
    figures, and `disputed_…` what the higher ones are more.
    """

    delivered_gpu_s: GpuSeconds
    excused_gpu_s: GpuSeconds
    used_gpu_s: GpuSeconds
    quality_gpu_ms: dict[Quality, Milliseconds]
    intervals: tuple[MeterInterval, ...]
    recalled_gpus: Annotated[int, Field(ge=0)] = added(0)
    noticed: bool = added(False)
    disputed_gpu_s: GpuSeconds = added(0)
    disputed_used_gpu_s: GpuSeconds = added(0)


class MeterRecordView(Model):
    """GET /v1/positions/{id}/meter: inputs, digest and outcome; the signed reports are beside it.

    `simulated`: the node's GPUs are those of the stand-in library.
    """

    position_id: PositionId
    simulated: bool
    revision: Annotated[int, Field(ge=1)]
    meter_digest: Digest
    inputs: MeterInputs
    outcome: MeterOutcome


# -- what users read -------------------------------------------------------------------------------------------------


class TimeWindow(Model):
    """A stretch of time, [start_ms, end_ms)."""

    start_ms: Milliseconds
    end_ms: Milliseconds


class LevelHold(Model):
    """Why a node's level is frozen: a question that is open, not guilt."""

    reason: Identifier
    detail: Text
    since_ms: Milliseconds


class DriverDigestForm(Model):
    """POST /v1/driver-digests (scope `admin`): this driver comes with this library; `source` says how that is known."""

    driver_version: Name
    library_sha256: Digest
    source: Annotated[str, Field(min_length=1, max_length=1024)]


class DriverDigestView(DriverDigestForm):
    """GET /v1/driver-digests: one that a person of the venue passed on, besides the digest book."""

    added_by: AccountId
    added_ms: Milliseconds


class GpuProof(Model):
    """A GPU's last proof: when it was judged, its score by the venue's clock, and the kind of band it was judged by."""

    gpu: GpuUuid
    judged_ms: Milliseconds
    passed: bool
    reason: Text
    operations_per_s: Count
    band: Text


class Attestation(Model):
    """What the maker of a node's GPUs says of them: nothing, where nobody can ask; else what his verifier found in
    evidence that carries `nonce`. No level rests on it.
    """

    state: Literal["not_attestable_today", "attested", "refused"]
    reason: Text = ""
    nonce: Digest | None = None
    answered_ms: Milliseconds | None = None


class NodeView(Model):
    """GET /v1/nodes: what everyone may know of a node, with the maintenance that is to come.

    While `level_held` names something, the node does not rise; bond and asks stay as they are.
    """

    node: NodeId
    account: AccountId
    grade: Grade
    hub: Hub
    level: Level
    state: NodeState
    reason: Text
    simulated: bool
    gpus: tuple[GpuUuid, ...]
    fit_gpus: tuple[GpuUuid, ...]
    last_report_ms: Milliseconds | None
    maintenance: tuple[TimeWindow, ...] = ()
    level_held: tuple[LevelHold, ...] = ()
    audited_until_ms: Milliseconds | None = None
    hub_known: HubView = HubView(evidence="declared")
    proofs: tuple[GpuProof, ...] = ()
    attestation: Attestation | None = None


class RecallForm(Model):
    """POST /v1/nodes/{id}/recalls (scope `operate`): takes GPUs of an interruptible position back; none named: all.

    `from_ms` null is the earliest moment with notice. An earlier one is taken, and counts as without notice.
    """

    position_id: PositionId
    gpus: Annotated[tuple[GpuUuid, ...], Field(strict=False, max_length=64)] = ()
    from_ms: Milliseconds | None = None


class RecallView(Model):
    """A recall as it was written down."""

    recall_id: Identifier
    position_id: PositionId
    gpus: tuple[GpuUuid, ...]
    from_ms: Milliseconds
    noticed: bool


class MaintenanceView(TimeWindow):
    """A window of maintenance as it was written down (POST /v1/nodes/{id}/maintenance, body TimeWindow)."""

    maintenance_id: Identifier


class NodeRetirement(Model):
    """POST /v1/nodes/{id}/retire (scope `operate`): the node ends for good, and its GPUs may be enrolled anew, by its
    own account or by the one named. Nothing sold may be unsettled; a repeat changes nothing.
    """

    release_to: AccountId | None = None


class NodeReview(Model):
    """POST /v1/nodes/{id}/review (scope `admin`): a released node proves itself again, a banned one is out for good."""

    decision: Literal["release", "ban"]
    reason: Identifier


class NodeAuditForm(Model):
    """POST /v1/nodes/{id}/audits (scope `admin`): somebody has looked at the machine; `reason` names how."""

    reason: Identifier
    valid_until_ms: Milliseconds


class ReputationView(Model):
    """GET /v1/nodes/{id}/reputation and /v1/operators/{account}/reputation: facts on record, and a score of them.

    Of an account all nodes count, retired ones too; `simulated`: at least one of them has GPUs of the stand-in library,
    whose proofs show no capacity. `formula` says how `score` (0 to 1000) follows from the rest;
    `services/delivery/reputation.py` what each fact is.
    """

    account: AccountId
    node: NodeId | None
    nodes: Count
    simulated: bool
    as_of_ms: Milliseconds
    days: Count
    positions: Count
    owed_gpu_s: Count
    delivered_gpu_s: Count
    outages: Count
    two_sided: Count
    disputed_gpu_s: Count
    proofs_passed: Count
    proofs_failed: Count
    disputes_lost: Count
    suspicions: Count
    score: Annotated[int, Field(ge=0, le=1000)] | None
    formula: Text


class AccessView(Model):
    """GET /v1/positions/{id}/access: how the buyer gets in; for the buyer alone.

    `recalls` are what the operator of an interruptible position takes back, and from when; `maintenance` was declared
    before the trade, so that its time is paid by nobody.
    `user`, `host` and `port` are the endpoint's where it is one for SSH, and `host_key` is its server's public key.
    `simulated`: the GPUs are those of the stand-in library.
    """

    position_id: PositionId
    simulated: bool
    lease_id: Identifier | None
    state: LeaseState
    endpoint: Text
    credential: str
    starts_ms: Milliseconds
    ends_ms: Milliseconds
    gpus: tuple[GpuUuid, ...]
    recalls: tuple[Recall, ...] = ()
    maintenance: tuple[TimeWindow, ...] = ()
    proofs: tuple[GpuProof, ...] = ()
    host_key: Text = ""
    user: Text = ""
    host: Text = ""
    port: Count = 0


class InspectionNonce(Model):
    """POST /v1/inspections/nonces: a nonce that one inspection report may carry before it expires."""

    nonce: Digest
    expires_ms: Milliseconds


class InspectionView(Model):
    """GET /v1/inspections/{id}: the report as the agent signed it, and what the venue knows of who signed."""

    inspection_id: Digest
    account: AccountId
    received_ms: Milliseconds
    report: InspectionReport
