"""Challenges: given out, held back for their company, answered, judged; and what GPUs have passed."""

from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass

from schemas.delivery import DisprovenTime
from schemas.nodes import Challenge, ChallengeVerdict, GpuVerdict
from services.delivery.rows import Position, StoredChallenge
from services.delivery.store.statements import Statements


@dataclass(frozen=True)
class Commitment:
    """What is written when a node commits to its heads: how long it took, and what is asked next."""

    challenge_id: str
    committed_ms: int
    commitment: bytes
    deadline_ms: int
    seen_us: int
    trip_us: int
    residency: bytes | None
    is_simultaneous: bool
    lag_us: int


@dataclass(frozen=True)
class HeldBack:
    """A challenge that waits for those of its operator's other nodes before one gate."""

    node: str
    account: str
    asked: bytes
    joint_gate_ms: int
    joint_until_ms: int

    @property
    def challenge(self) -> Challenge:
        """What is asked."""
        return Challenge.model_validate_json(self.asked)


class Challenges:
    """Challenges by their ids, their nodes and what is due with them."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def insert(self, node_id: str, challenge: Challenge, prover: str | None) -> None:
        """Writes a challenge that is given out."""
        times = (challenge.issued_ms, challenge.deadline_ms)
        row = (challenge.challenge_id, node_id, challenge.cause, challenge.lease_id, *times, challenge.canonical())
        await self._sql.run("insert_challenge", *row, prover)

    async def find(self, challenge_id: str, lock: bool = False) -> StoredChallenge | None:
        """Returns a challenge, or None."""
        return await self._sql.one(StoredChallenge, "lock_challenge" if lock else "find_challenge", challenge_id)

    async def open_of(self, node_id: str, now_ms: int) -> list[Challenge]:
        """Returns what a node is asked now."""
        return (await self.open_of_nodes([node_id], now_ms)).get(node_id, [])

    async def open_of_nodes(self, node_ids: Sequence[str], now_ms: int) -> dict[str, list[Challenge]]:
        """Returns what nodes are asked now; one that nothing is asked is missing."""
        found: dict[str, list[Challenge]] = {}
        for row in await self._sql.rows("challenges_of_nodes", node_ids, now_ms) if node_ids else ():
            found.setdefault(row["node_id"], []).append(Challenge.model_validate_json(row["asked"]))
        return found

    async def late(self, now_ms: int) -> list[StoredChallenge]:
        """Returns the open challenges whose time is over, locked."""
        return await self._sql.all(StoredChallenge, "late_challenges", now_ms)

    async def open_everywhere(self) -> list[StoredChallenge]:
        """Returns all open challenges of nodes, locked."""
        return await self._sql.all(StoredChallenge, "open_challenges_everywhere")

    async def void(self, challenge_id: str) -> None:
        """Ends a challenge as if it had never been."""
        await self._sql.run("void_challenge", challenge_id)

    async def void_of_node(self, node_id: str) -> None:
        """The same of all challenges of a node."""
        await self._sql.run("void_challenges", node_id)

    async def void_idle(self, node_id: str) -> None:
        """The same of those that were given out while no buyer had the GPUs."""
        await self._sql.run("void_idle_challenges", node_id)

    # -- answers

    async def commit(self, commitment: Commitment) -> None:
        """Writes what a node committed to."""
        await self._sql.run("set_committed", *astuple(commitment))

    async def set_resident(self, challenge_id: str, digests: bytes, took_us: int, lag_us: int) -> None:
        """Writes the digests that answered a second nonce."""
        await self._sql.run("set_resident", challenge_id, digests, took_us, lag_us)

    async def set_drawn(self, challenge_id: str, secret: bytes, opening: bytes, deadline_ms: int) -> None:
        """Writes what is to be opened until when."""
        await self._sql.run("set_drawn", challenge_id, secret, opening, deadline_ms)

    async def extend_opening(self, challenge_id: str, deadline_ms: int) -> None:
        """Gives an opening time until then."""
        await self._sql.run("extend_opening", challenge_id, deadline_ms)

    async def put_opened(self, challenge_id: str, verdict: GpuVerdict) -> None:
        """Writes a verdict on one GPU, unless there is one."""
        await self._sql.run("put_opened_gpu", challenge_id, verdict.gpu_uuid, verdict.canonical())

    async def opened(self, challenge_id: str) -> dict[str, GpuVerdict]:
        """Returns the verdicts on the GPUs that were opened so far."""
        rows = await self._sql.rows("opened_gpus", challenge_id)
        return {row["gpu_uuid"]: GpuVerdict.model_validate_json(row["verdict"]) for row in rows}

    async def set_judged(self, challenge_id: str, verdict: ChallengeVerdict) -> None:
        """Writes a verdict."""
        await self._sql.run("set_judged", challenge_id, verdict.canonical())

    async def apply(self, challenge_id: str) -> bool:
        """Notes that a verdict's consequences are drawn; says whether this is the first time."""
        return await self._sql.value("set_applied", challenge_id) is not None

    async def note_absence(self, challenge_id: str) -> int | None:
        """Counts a sweep that did not find its node there; returns how many in a row, None for what was no sweep."""
        return await self._sql.value("note_absence", challenge_id)

    # -- sweeps and joint gates

    async def open_later(self, challenge_id: str, at_ms: int, is_simultaneous: bool, sweep: str | None) -> None:
        """Lets a sweep's challenge leave at its moment."""
        await self._sql.run("open_later", challenge_id, at_ms, is_simultaneous, sweep)

    async def has_company(self, account: str, node_id: str, gate_ms: int) -> bool:
        """Says whether other nodes of an operator stand before the same gate."""
        return await self._sql.value("has_company", account, node_id, gate_ms)

    async def has_gate_ahead(self, account: str, gate_ms: int) -> bool:
        """Says whether more of an operator's nodes are still to come to a gate."""
        return await self._sql.value("has_gate_ahead", account, gate_ms)

    async def hold_back(self, challenge_id: str, gate_ms: int, until_ms: int) -> None:
        """Keeps a challenge from leaving before those of its company."""
        await self._sql.run("hold_back", challenge_id, gate_ms, until_ms)

    async def held_back(self) -> list[HeldBack]:
        """Returns all that is held back."""
        return await self._sql.all(HeldBack, "held_back")

    async def let_go(self, challenge_ids: Sequence[str], at_ms: int) -> None:
        """Lets what was held back leave."""
        await self._sql.run("let_go", list(challenge_ids), at_ms)

    # -- what was passed, and what was disproven

    async def put_proofs(self, node_id: str, verdict: ChallengeVerdict) -> None:
        """Writes what a verdict says of each GPU, where it is the latest."""
        rows = [(gpu.gpu_uuid, gpu.passed, gpu.reason, gpu.operations_per_s) for gpu in verdict.gpus]
        columns = map(list, zip(*rows, strict=True))
        await self._sql.run("put_gpu_proofs", node_id, verdict.judged_ms, verdict.band, *columns)

    async def put_fact(self, node_id: str, verdict: ChallengeVerdict) -> None:
        """Writes a verdict into the record that a node's reputation is made of, once."""
        row = (verdict.challenge_id, node_id, verdict.judged_ms, verdict.passed)
        await self._sql.run("put_proof_fact", *row)

    async def last_passes(self, node_id: str) -> dict[str, int]:
        """Returns when each GPU of a node passed last; 0 where it never did."""
        return {row["gpu"]: row["passed_ms"] for row in await self._sql.rows("last_passes", node_id)}

    async def last_passes_inside(self, node_id: str, shoppers: Collection[str]) -> dict[str, int]:
        """Returns when each GPU of a node passed last for one of these accounts inside a lease."""
        rows = await self._sql.rows("last_passes_inside", node_id, sorted(shoppers))
        return {row["gpu"]: row["passed_ms"] for row in rows}

    async def insert_disproven(self, node_id: str, time: DisprovenTime) -> None:
        """Writes time that a failed proof took back."""
        await self._sql.run("insert_disproven", time.challenge_id, time.gpu, node_id, time.start_ms, time.end_ms)

    async def disproven_of(self, position: Position) -> tuple[DisprovenTime, ...]:
        """Returns what failed proofs took back of a position's window."""
        window = (position.node, position.start_ms, position.end_ms, list(position.gpus))
        return tuple(DisprovenTime(**row) for row in await self._sql.rows("disproven_of", *window))
