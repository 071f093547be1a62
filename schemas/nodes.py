"""What a node's agent and the delivery service say to each other, and what delivery puts on `meter.reports`.

HTTP, served by delivery at port 18082 (every body is one of the models below, JSON; errors are problem documents):

    POST /v1/nodes                                     EnrolRequest      → 201 EnrolReply (200 on a repeat)
    POST /v1/nodes/{node_id}/gpus                      GpuChange         → 200 GpuChangeReply
    POST /v1/nodes/{node_id}/reports                   Report            → 200 ReportReply
    POST /v1/nodes/{node_id}/chain                     ChainRequest      → 200 ChainReply
    POST /v1/nodes/{node_id}/challenges/next           ChallengeWait     → 200 ChallengeOffer, held until there is one
    POST /v1/nodes/{node_id}/challenges/{id}/commit    ChallengeCommit   → 200 CommitReply
    POST /v1/nodes/{node_id}/challenges/{id}/residency ResidencyAnswer   → 200 OpeningRequest
    POST /v1/nodes/{node_id}/challenges/{id}/open      ChallengeOpening  → 200 ChallengeVerdict
    POST /v1/nodes/{node_id}/leases/{lease_id}         LeaseResult       → 200 LeaseReply
    POST /v1/nodes/{node_id}/hub                       HubClaim          → 200 HubView (schemas.hubs)
    POST /v1/inspections                               InspectionReport  → 201 InspectionReply

Every message of the agent ends in `signature`: Ed25519 of the node's key over `signing_bytes(message)`. Keys and
signatures are lower-case hex. All times are integer milliseconds; `…_ms` of a server is its own clock.
"""

from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from schemas.answers import RequestAnswered
from schemas.base import Model, added
from schemas.ids import AccountId, Contract, GpuUuid, Grade, Hub, Identifier, NodeId, PublicKey, Signature
from schemas.ids import Digest as Hash
from schemas.measures import Level

GENESIS_HASH = "0" * 64

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
PositionId = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=1024)]
Reason = Annotated[str, Field(pattern=r"^[a-z0-9_]{0,64}$")]
PciId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
# What a hook says to the buyer in one line, and what it says at length: neither has control characters where they hurt.
Line = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Secret = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*$")]
Remark = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")]


class SignedMessage(Model):
    """A message that the node's key signs; the subclass's `purpose` keeps one kind from passing as another."""

    purpose: ClassVar[str]


def signing_bytes(message: SignedMessage) -> bytes:
    """What is signed and hashed: the purpose, a line feed, the canonical bytes without `signature`."""
    body = message.model_dump_json(exclude={"signature"})
    return f"hourbook.{message.purpose}.v1\n{body}".encode()


def message_hash(message: SignedMessage) -> str:
    """SHA-256 of the signing bytes; the `prev_hash` of the next report in a chain."""
    return sha256(signing_bytes(message)).hexdigest()


def node_id_of(public_key: str) -> str:
    """The id of the node that owns a key: short, and the same however often it enrols."""
    return "node-" + sha256(bytes.fromhex(public_key)).hexdigest()[:16]


# --- enrolment ---------------------------------------------------------------------------------------------------


class GpuInventory(Model):
    """One GPU as its driver names it, with its own grade; `serial` is `unknown` where the board has none.

    `pci_device_id` is device and vendor as NVML gives them (`233010de` is an H100 SXM); null where nobody could tell.
    """

    uuid: GpuUuid
    pci_address: Name
    serial: Identifier
    board_part_number: Text
    name: Name
    memory_mib: Count
    grade: Grade
    pci_device_id: PciId | None = added()


class EnrolRequest(SignedMessage):
    """A new node proves its operator's one-time token and its own key; a repeat with the same key gets the same node.

    `grade` is what the whole node is sold as (`H100SXM80X8`, or the GPUs' own grade when they are sold singly);
    `nvml_simulated` says that the telemetry comes from the stand-in library, which only a sandbox accepts.
    """

    purpose: ClassVar[str] = "enrol"
    token: Annotated[str, Field(min_length=1, max_length=4096)]
    public_key: PublicKey
    label: Name
    hub: Hub
    grade: Grade
    boot_id: Identifier
    gpus: Annotated[tuple[GpuInventory, ...], Field(min_length=1, max_length=64)]
    driver_version: Name
    kernel_driver_version: Text = ""
    library_sha256: Hash
    agent_version: Name
    nvml_simulated: bool
    wall_ms: Count
    signature: Signature


class Challenge(Model):
    """Work that only the claimed GPUs can finish in time: see `schemas.challenge` for the arithmetic.

    The commit must arrive before `deadline_ms`; each GPU in `gpu_uuids` runs its own chain over the same nonce.
    """

    challenge_id: Identifier
    cause: Literal["enrolment", "gate", "idle", "renter"]
    nonce: Hash
    n: Annotated[int, Field(ge=32, le=131_072)]
    rounds: Annotated[int, Field(ge=1, le=4096)]
    gpu_uuids: Annotated[tuple[GpuUuid, ...], Field(min_length=1, max_length=64)]
    issued_ms: Count
    deadline_ms: Count
    lease_id: Identifier | None = None


class EnrolReply(Model):
    """The node's id, its operator's account, the first nonce, and a challenge to pass before anything is sold."""

    node_id: NodeId
    account: AccountId
    level: Level
    server_nonce: Hash
    server_time_ms: Count
    report_interval_ms: Annotated[int, Field(ge=1)]
    challenge: Challenge | None = None


class GpuChange(SignedMessage):
    """The node's GPUs as they are now: one was put in, taken out, or replaced. New ones are proven before they sell."""

    purpose: ClassVar[str] = "gpus"
    agent: NodeId
    boot_id: Identifier
    gpus: Annotated[tuple[GpuInventory, ...], Field(min_length=1, max_length=64)]
    nvml_simulated: bool
    wall_ms: Count
    signature: Signature


class GpuChangeReply(Model):
    """What the node consists of from now on, and what came and went."""

    node_id: NodeId
    gpus: tuple[GpuUuid, ...]
    added: tuple[GpuUuid, ...]
    removed: tuple[GpuUuid, ...]


# --- reports -----------------------------------------------------------------------------------------------------


ProcessKind = Literal["compute", "graphics", "mps"]
ProcessOwner = Literal["lease", "foreign", "unknown", "other"]
ProcessEvidence = Literal["container", "cgroup", "user", "ancestor"]


class GpuProcess(Model):
    """A process on a GPU, whose it is, and how the agent knows.

    `owner`: `lease` is the buyer's of `lease_id`, by `evidence`; `foreign` is somebody else's work; `unknown` could not
    be looked at; `other` is graphics, an MPS server or monitoring. Reports written before `owner` existed have none.
    """

    pid: Count
    memory_mib: Count
    lease_id: Identifier | None = None
    kind: ProcessKind | None = added()
    owner: ProcessOwner | None = added()
    evidence: ProcessEvidence | None = added()

    @property
    def whose(self) -> ProcessOwner:
        """Return the owner; in older reports the lease alone decided."""
        return self.owner or ("foreign" if self.lease_id is None else "lease")

    def belongs_to(self, lease_id: str | None) -> bool:
        """Tell whether this is work of a lease's buyer."""
        return self.whose == "lease" and self.lease_id is not None and self.lease_id == lease_id


class GpuReading(Model):
    """One GPU at the end of a window. What the driver does not tell, or could not be asked for, is null.

    `present`: the GPU answered some call. `blind`: it answered none, and nothing says that it is gone (a hanging
    driver, a library that does not fit); then, as where `present` is false, nothing measured means anything.
    `healthy` is the agent's own verdict, which delivery checks against the facts, `fault` its reason, `withheld` why
    the agent does not offer the GPU now. `throttle` is NVML's bit mask of clock event reasons; `ecc_*` and
    `remapped_*` are lifetime counts; `xid` lists the XIDs seen in the window. `remap_pending`: a row is remapped at the
    next reset. `recovery_action` is NVML_FI_DEV_GET_GPU_RECOVERY_ACTION (0: none), `fabric_state` nvmlGpuFabricState_t,
    `nvlinks_down` how many NVLinks of the GPU are inactive. Where `processes_unknown`, `processes` is empty because
    nobody could list them.
    """

    uuid: GpuUuid
    present: bool
    healthy: bool
    memory_total_mib: Count | None = None
    memory_used_mib: Count | None = None
    utilisation_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    power_mw: Count | None = None
    energy_mj: Count | None = None
    temperature_c: Annotated[int, Field(ge=-273, le=1000)] | None = None
    sm_clock_mhz: Count | None = None
    memory_clock_mhz: Count | None = None
    throttle: Count | None = None
    ecc_corrected: Count | None = None
    ecc_uncorrected: Count | None = None
    remapped_correctable: Count | None = None
    remapped_uncorrectable: Count | None = None
    remap_failed: bool = False
    mig_enabled: bool = False
    xid: tuple[Count, ...] = ()
    processes: tuple[GpuProcess, ...] = ()
    blind: bool = added(False)
    fault: Reason = added("")
    withheld: Reason = added("")
    processes_unknown: bool = added(False)
    remap_pending: bool = added(False)
    recovery_action: Count | None = added()
    fabric_state: Count | None = added()
    nvlinks_down: Count | None = added()


class Report(SignedMessage):
    """The node's meter for one window, `mono_start_ms` to `mono_end_ms` of its monotonic clock.

    `agent` is the node id. `seq` starts at 1 and has no holes, also over a reboot (which changes `boot_id`);
    `prev_hash` is `message_hash` of the report before (GENESIS_HASH for the first). `server_nonce` came with the last
    reply and is used once, save by reports marked `queued`, which were written while offline and repeat the last one.
    """

    purpose: ClassVar[str] = "report"
    agent: NodeId
    boot_id: Identifier
    seq: Annotated[int, Field(ge=1, le=2**63 - 1)]
    prev_hash: Hash
    server_nonce: Hash
    mono_start_ms: Count
    mono_end_ms: Count
    wall_ms: Count
    queued: bool
    lease_ids: tuple[Identifier, ...]
    agent_version: Name
    driver_version: Name
    kernel_driver_version: Text = ""
    library_sha256: Hash
    nvml_simulated: bool
    gpus: Annotated[tuple[GpuReading, ...], Field(max_length=64)]
    signature: Signature


SSH_KEYS_PER_LEASE_MAX = 64
SshKeyLine = Annotated[str, Field(max_length=4096, pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( [^\x00-\x1f\x7f]*)?$")]
ImageName = Annotated[str, Field(max_length=256, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]*$")]
Script = Annotated[str, Field(max_length=16_384, pattern=r"^[^\x00]*$")]


class LeaseStart(Model):
    """A lease to open: run the operator's start hook so that the buyer gets in by `starts_ms`.

    `ssh_keys` are the public keys that may enter; `image` and `script` are wishes that a hook may know to fulfill.
    """

    lease_id: Identifier
    position_ids: Annotated[tuple[PositionId, ...], Field(min_length=1)]
    contract: Contract
    gpu_uuids: Annotated[tuple[GpuUuid, ...], Field(min_length=1)]
    starts_ms: Count
    ends_ms: Count
    access_reference: Text
    ssh_keys: Annotated[tuple[SshKeyLine, ...], Field(max_length=SSH_KEYS_PER_LEASE_MAX)] = added(())
    image: ImageName | None = added()
    script: Script | None = added()


class LeaseStop(Model):
    """A lease to close: run the operator's end hook."""

    lease_id: Identifier
    reason: Literal["ended", "failed", "settled", "admin"]


class PolicyHint(Model):
    """What the venue asks of the node's selling: `sell` false means withdraw everything, `reason` says why.

    `agent_at_least` is the oldest version of the agent, and with it of the protocol, that the venue takes.
    """

    sell: bool = True
    reason: Text = ""
    agent_at_least: Text = added("")


class ReportReply(Model):
    """The venue's answer to a report; starts, stops and challenges repeat until the node has answered them.

    `status`: `accepted`, `duplicate` (same seq, same hash) or `buffered` (came before its predecessor). A refused
    report is a problem document: `report_nonce_stale` carries the members `server_nonce` and `server_time_ms`,
    `report_gap` the member `expected_seq`; `report_forked` means quarantine.
    """

    status: Literal["accepted", "duplicate", "buffered"]
    seq: Count
    next_nonce: Hash
    server_time_ms: Count
    report_interval_ms: Annotated[int, Field(ge=1)]
    level: Level
    node_state: Literal["enrolled", "active", "quarantined", "lost", "banned"]
    challenges: tuple[Challenge, ...] = ()
    start_leases: tuple[LeaseStart, ...] = ()
    stop_leases: tuple[LeaseStop, ...] = ()
    hint: PolicyHint = PolicyHint()


class ChainRequest(SignedMessage):
    """Asks where the node's chain stands at the venue: at each start, and when a report finds no place.

    `base_seq` and `base_hash` are number and hash of the last report before those that the node can still send. Where
    the venue's chain ends before them, it goes on behind them: numbers are left out, never used twice, and the time of
    the reports left out stays as it was judged.
    """

    purpose: ClassVar[str] = "chain"
    agent: NodeId
    boot_id: Identifier
    base_seq: Annotated[int, Field(ge=0, le=2**63 - 1)]
    base_hash: Hash
    wall_ms: Count
    signature: Signature


class ChainReply(Model):
    """The next report has number `seq` + 1, `prev_hash` = `hash`, and may use `server_nonce`.

    `live_leases` are those whose buyer should be in: a node that has forgotten one opens it again.
    """

    seq: Count
    hash: Hash
    server_nonce: Hash
    server_time_ms: Count
    live_leases: tuple[LeaseStart, ...] = ()


# --- challenges --------------------------------------------------------------------------------------------------


class ChallengeWait(SignedMessage):
    """Asks for the node's next challenges. The server holds the request until it has some, or for a while.

    `echo` is that of the last answer ("" at the start): the node asks again at once, and so shows its round trip.
    """

    purpose: ClassVar[str] = "challenge.next"
    agent: NodeId
    echo: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
    wall_ms: Count
    signature: Signature


class ChallengeOffer(Model):
    """Challenges to answer, mostly none or one; the next request brings `echo` back."""

    echo: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
    challenges: tuple[Challenge, ...] = ()


class GpuCommit(Model):
    """The last link `h_T` of one GPU's chain."""

    gpu_uuid: GpuUuid
    head: Hash


class ChallengeCommit(SignedMessage):
    """All chains of a challenge, finished; the server's clock stops when it arrives."""

    purpose: ClassVar[str] = "challenge.commit"
    agent: NodeId
    challenge_id: Identifier
    backend: Name
    heads: Annotated[tuple[GpuCommit, ...], Field(min_length=1, max_length=64)]
    signature: Signature


class RoundRows(Model):
    """Rows asked for from one round; `round` counts from 1, rows from 0."""

    round: Annotated[int, Field(ge=1)]
    rows: tuple[Count, ...]


class GpuOpeningRequest(Model):
    """What is to be opened of one GPU's chain."""

    gpu_uuid: GpuUuid
    rounds: tuple[RoundRows, ...]


class OpeningRequest(Model):
    """Drawn by the server after the commit; the opening must arrive before `deadline_ms`."""

    challenge_id: Identifier
    deadline_ms: Count
    gpus: tuple[GpuOpeningRequest, ...]


class ResidencyRequest(Model):
    """A second nonce: whoever still holds the results answers with their digests before `deadline_ms`.

    See `schemas.residency`. The server's clock decides, less the round trip that it has measured.
    """

    challenge_id: Identifier
    nonce: Hash
    stride: Annotated[int, Field(ge=1)]
    deadline_ms: Count


class GpuDigest(Model):
    """The residency digest of one GPU's chain."""

    gpu_uuid: GpuUuid
    digest: Hash


class ResidencyAnswer(SignedMessage):
    """The digests of all GPUs that were committed to; only then the server draws what is to be opened."""

    purpose: ClassVar[str] = "challenge.residency"
    agent: NodeId
    challenge_id: Identifier
    gpus: Annotated[tuple[GpuDigest, ...], Field(min_length=1, max_length=64)]
    signature: Signature


class CommitReply(Model):
    """What comes next: a residency request, or at once what is to be opened where the venue asks for no residency."""

    challenge_id: Identifier
    residency: ResidencyRequest | None = None
    opening: OpeningRequest | None = None


class OpenedRow(Model):
    """One row of C_t: n INT32 little endian in base64, and its siblings up to the root, lowest first.

    `residency_path` are its siblings in the round's residency tree, where the venue asked for residency.
    """

    index: Count
    values: Base64
    path: tuple[Hash, ...]
    residency_path: tuple[Hash, ...] = added(())


class OpenedRound(Model):
    """The opened rows of one round."""

    round: Annotated[int, Field(ge=1)]
    rows: tuple[OpenedRow, ...]


class GpuOpening(Model):
    """One GPU's opening: the Merkle roots of *all* rounds, which link up to the committed head, and the rows.

    `residency_roots` are those that the GPU's digest was made of, of all rounds too.
    """

    gpu_uuid: GpuUuid
    roots: tuple[Hash, ...]
    rounds: tuple[OpenedRound, ...]
    residency_roots: tuple[Hash, ...] = added(())


class ChallengeOpening(SignedMessage):
    """The answer to an opening request, for some of its GPUs: mostly one, since a GPU's rows are megabytes."""

    purpose: ClassVar[str] = "challenge.open"
    agent: NodeId
    challenge_id: Identifier
    gpus: Annotated[tuple[GpuOpening, ...], Field(min_length=1, max_length=64)]
    signature: Signature


class GpuVerdict(Model):
    """`reason` is empty where the GPU passed; `operations_per_s` is the score by the server's clock alone."""

    gpu_uuid: GpuUuid
    passed: bool
    reason: Text = ""
    operations_per_s: Count


class ChallengeVerdict(Model):
    """What the server found; `passed` only when every GPU did.

    `pending` are GPUs whose opening has not come yet: while there are some the verdict is not final. `band` says what
    the scores were judged by: `measured`, `uncalibrated` or, for the stand-in library's GPUs, `simulated`.
    """

    challenge_id: Identifier
    passed: bool
    judged_ms: Count
    gpus: tuple[GpuVerdict, ...]
    pending: tuple[GpuUuid, ...] = added(())
    simulated: bool = added(False)
    band: Reason = added("")


# --- leases ------------------------------------------------------------------------------------------------------


class LeaseResult(SignedMessage):
    """What the operator's hook did. `credential` is for the buyer alone and goes to no topic.

    `host_key` is the public key of the endpoint's SSH server, one line `type base64`; "" where the hook named none.
    """

    purpose: ClassVar[str] = "lease"
    agent: NodeId
    lease_id: Identifier
    action: Literal["start", "stop"]
    ok: bool
    endpoint: Line = ""
    credential: Secret = ""
    detail: Remark = ""
    wall_ms: Count
    host_key: Line = added("")
    signature: Signature


class LeaseReply(Model):
    """Taken down; a repeat changes nothing."""

    lease_id: Identifier
    recorded: bool


# --- inspections -------------------------------------------------------------------------------------------------


class InspectedGpu(Model):
    """One GPU for a hardware listing: what it is, and how it stands."""

    inventory: GpuInventory
    reading: GpuReading


class InspectionReport(SignedMessage):
    """The condition of GPUs for sale, bound to a nonce of whoever asked (the venue's last one, or a buyer's).

    It names its own key, so that a reader can check it without asking anyone but for the node's enrolment.
    """

    purpose: ClassVar[str] = "inspection"
    agent: NodeId
    public_key: PublicKey
    nonce: Hash
    driver_version: Name
    library_sha256: Hash
    agent_version: Name
    nvml_simulated: bool
    wall_ms: Count
    gpus: Annotated[tuple[InspectedGpu, ...], Field(min_length=1, max_length=64)]
    signature: Signature


class InspectionReply(Model):
    """The report's name from now on: `message_hash` of it."""

    inspection_id: Hash
    received_ms: Count


# --- the topic `meter.reports`, keyed by node id -----------------------------------------------------------------


class NodeEnrolled(Model):
    """A node came in. `received_ms` is the edge's clock, as in all records of this topic."""

    type: Literal["node_enrolled"] = "node_enrolled"
    node_id: NodeId
    account: AccountId
    received_ms: Count
    request: EnrolRequest


class NodeReported(Model):
    """A report whose signature, nonce and place in the chain the edge has checked; the reader checks the chain again.

    `nonce_issued_ms` is when the edge gave out the report's nonce (null if queued: its nonce proves no time).
    """

    type: Literal["node_reported"] = "node_reported"
    node_id: NodeId
    received_ms: Count
    nonce_issued_ms: Count | None
    report: Report


class GpusChanged(Model):
    """A node's GPUs have changed; the edge has checked signature, plausibility and that no other node has them."""

    type: Literal["gpus_changed"] = "gpus_changed"
    node_id: NodeId
    received_ms: Count
    request: GpuChange


class ChainMoved(Model):
    """The node's chain goes on behind report `seq` with `hash`: the venue has not, and the node has not any more, what
    lies between that and the chain's end before (`from_seq`).
    """

    type: Literal["chain_moved"] = "chain_moved"
    node_id: NodeId
    received_ms: Count
    from_seq: Count
    seq: Annotated[int, Field(ge=1, le=2**63 - 1)]
    hash: Hash


class ChallengeJudged(Model):
    """A challenge is over: passed, failed, or late."""

    type: Literal["challenge_judged"] = "challenge_judged"
    node_id: NodeId
    received_ms: Count
    cause: Literal["enrolment", "gate", "idle", "renter"]
    lease_id: Identifier | None
    verdict: ChallengeVerdict


class LeaseAnswered(Model):
    """A hook has run; without the credential, which never leaves delivery's own database."""

    type: Literal["lease_answered"] = "lease_answered"
    node_id: NodeId
    received_ms: Count
    lease_id: Identifier
    action: Literal["start", "stop"]
    ok: bool
    endpoint: Text
    detail: Text
    host_key: Line = added("")


class NodeInspected(Model):
    """An inspection report that the edge has checked."""

    type: Literal["node_inspected"] = "node_inspected"
    node_id: NodeId
    received_ms: Count
    report: InspectionReport


class RenterReported(Model):
    """On `meter.reports`: a renter's report whose signature, nonce and place in the chain the edge has checked."""

    type: Literal["renter_reported"] = "renter_reported"
    node_id: NodeId
    lease_id: Identifier
    received_ms: Count
    nonce_issued_ms: Count | None
    report: Report


class RenterJoined(Model):
    """The buyer of a lease registered the key of his own meter."""

    type: Literal["renter_joined"] = "renter_joined"
    node_id: NodeId
    lease_id: Identifier
    received_ms: Count
    public_key: PublicKey


class DoorTried(Model):
    """The venue tried the door of a running lease; `reason` says why it was shut."""

    type: Literal["door_tried"] = "door_tried"
    node_id: NodeId
    lease_id: Identifier
    received_ms: Count
    reachable: bool
    reason: Text


class NodeReleased(Model):
    """A retired node's GPUs may be enrolled by this account."""

    type: Literal["node_released"] = "node_released"
    node_id: NodeId
    received_ms: Count
    release_to: AccountId


class HubMeasured(Model):
    """The beacon of its hub measured a node; `receipt` is the JSON of the `schemas.hubs.HubReceipt` that it signed."""

    type: Literal["hub_measured"] = "hub_measured"
    node_id: NodeId
    received_ms: Count
    hub: Hub
    trip_us: Count
    measured_ms: Count
    receipt: str


class DisputeRecorded(Model):
    """A dispute as it stands now, with its evidence and an arbiter's `ArbiterInputs` as JSON: all that was said."""

    type: Literal["dispute_recorded"] = "dispute_recorded"
    node_id: NodeId
    received_ms: Count
    dispute_id: Identifier
    position_id: PositionId
    side: Literal["buyer", "operator", "venue"]
    account: AccountId
    idempotency_key: Text
    reason: Identifier
    evidence: str
    state: Literal["OPEN", "DECIDED", "WITHDRAWN"]
    opened_ms: Count
    deadline_ms: Count
    revision: Count
    decided_by: Identifier | None
    decided_ms: Count | None
    decision_reason: str
    inputs: str | None
    outcome: str


MeterRecord = Annotated[
    NodeEnrolled
    | GpusChanged
    | NodeReported
    | ChainMoved
    | RenterReported
    | RenterJoined
    | ChallengeJudged
    | LeaseAnswered
    | NodeInspected
    | DoorTried
    | NodeReleased
    | HubMeasured
    | DisputeRecorded
    | RequestAnswered,
    Field(discriminator="type"),
]
METER_RECORD: TypeAdapter[MeterRecord] = TypeAdapter(MeterRecord)
