"""The agent's HTTP: to delivery's edge with messages that carry their own signature, to the gateway with an API key."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.clock import VenueClock, mono_ms
from agents.node.errors import BadAnswer, BadConfiguration
from agents.node.files import read_text
from agents.node.wire import Patience, Wire, read_object
from schemas.accounts import NodeKeyForm
from schemas.base import Model
from schemas.hubs import HubBeacons, HubClaim, HubView, TripAnswer, TripReply, TripStart
from schemas.nodes import (
    ChainReply,
    ChainRequest,
    Challenge,
    ChallengeCommit,
    ChallengeOffer,
    ChallengeOpening,
    ChallengeVerdict,
    ChallengeWait,
    CommitReply,
    EnrolReply,
    EnrolRequest,
    GpuChange,
    GpuChangeReply,
    InspectionReply,
    InspectionReport,
    LeaseReply,
    LeaseResult,
    OpeningRequest,
    Report,
    ReportReply,
    ResidencyAnswer,
)
from schemas.signing import KEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, request_text

if TYPE_CHECKING:  # what an operator declares by hand; the running agent, whose memory is counted, never does
    from schemas.declarations import NodeMaintenance, NodeRecall
    from schemas.delivery import MaintenanceView, RecallView
    from schemas.disputes import DisputeView, NodeDispute
    from schemas.renter import ProofRequest

Reply = TypeVar("Reply", bound=Model)
TimedReply = TypeVar("TimedReply", EnrolReply, ReportReply, ChainReply)
JSON_HEADERS = {"Content-Type": "application/json"}
REQUESTS_AT_ONCE = 8
HELD_TIMEOUT_S = 40.0  # longer than any venue holds a request
PAGES_MAX = 1000


@dataclass(frozen=True)
class ApiKey:
    """The operator's API key with the scope `operate`."""

    key_id: str
    private_key: Ed25519PrivateKey

    @classmethod
    def load(cls, key_id: str, file: Path) -> ApiKey:
        """Reads the private half, a 32-byte seed in hex."""
        try:
            return cls(key_id, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(read_text(file, "api_key_file"))))
        except ValueError as error:
            words = "should be the private half of an API key: 64 hex digits"
            raise BadConfiguration(f"api_key_file {file}: {words}") from error

    def headers(self, method: str, path: str, query: str, body: bytes, ts_ms: int) -> dict[str, str]:
        """Returns the headers that sign one request at a time of the venue's clock; path and query are as sent."""
        nonce = secrets.token_hex(16)
        text = request_text(method, path, query, body, ts_ms, nonce, self.key_id)
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(ts_ms),
            NONCE_HEADER: nonce,
            SIGNATURE_HEADER: self.private_key.sign(text).hex(),
        }


class DeliveryClient:
    """Delivery's edge, as `schemas.nodes` lists it. Its answers set the clock that all of the agent goes by."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, clock: VenueClock | None = None, patience: Patience | None = None
    ) -> None:
        self.clock = clock or VenueClock()
        self._wire, self._url = Wire(http, patience), url.rstrip("/")
        self._held = Wire(http, Patience(HELD_TIMEOUT_S))

    async def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Enrols the node."""
        return await self._timed("/v1/nodes", request, EnrolReply)

    async def report(self, report: Report) -> ReportReply:
        """Sends one report."""
        return await self._timed(f"/v1/nodes/{report.agent}/reports", report, ReportReply)

    async def change_gpus(self, change: GpuChange) -> GpuChangeReply:
        """Says which GPUs the node consists of now."""
        return await self._post(f"/v1/nodes/{change.agent}/gpus", change, GpuChangeReply)

    async def retire(self, key: ApiKey, node_id: str, release_to: str | None) -> None:
        """Ends a node of the operator's for good, and frees its GPUs."""
        path, body = f"/v1/nodes/{node_id}/retire", json.dumps({"release_to": release_to}).encode()
        headers = key.headers("POST", path, "", body, self.clock.now_ms()) | JSON_HEADERS
        await self._wire.send("POST", self._url + path, headers, body)

    async def dispute(self, dispute: NodeDispute) -> DisputeView:
        """Disputes a position of the node."""
        from schemas.disputes import DisputeView

        return await self._post(f"/v1/nodes/{dispute.agent}/disputes", dispute, DisputeView)

    async def recall(self, recall: NodeRecall) -> RecallView:
        """Takes GPUs of an interruptible position of the node back."""
        from schemas.delivery import RecallView

        return await self._post(f"/v1/nodes/{recall.agent}/signed-recalls", recall, RecallView)

    async def declare_maintenance(self, maintenance: NodeMaintenance) -> MaintenanceView:
        """Declares maintenance of the node."""
        from schemas.delivery import MaintenanceView

        return await self._post(f"/v1/nodes/{maintenance.agent}/signed-maintenance", maintenance, MaintenanceView)

    async def place_chain(self, request: ChainRequest) -> ChainReply:
        """Asks where the node's chain stands."""
        return await self._timed(f"/v1/nodes/{request.agent}/chain", request, ChainReply)

    async def show_node(self, node_id: str) -> dict:
        """Reads what everyone may know of a node."""
        url = f"{self._url}/v1/nodes/{node_id}"
        return read_object(await self._wire.send("GET", url), f"GET {url}")

    async def next_challenges(self, wait: ChallengeWait) -> ChallengeOffer:
        """Holds a request open until the venue has challenges for the node, or for a while."""
        url = f"{self._url}/v1/nodes/{wait.agent}/challenges/next"
        return await self._held.read(ChallengeOffer, "POST", url, JSON_HEADERS, wait.canonical())

    async def hubs(self) -> HubBeacons:
        """Reads which hubs have a beacon."""
        return await self._wire.read(HubBeacons, "GET", f"{self._url}/v1/hubs")

    async def trip(self, url: str, message: TripStart | TripAnswer) -> TripReply:
        """Says something to a beacon, which is no part of the venue's own address."""
        return await self._wire.read(TripReply, "POST", url, JSON_HEADERS, message.canonical())

    async def claim_hub(self, claim: HubClaim) -> HubView:
        """Hands in what the hub's beacon has signed."""
        return await self._post(f"/v1/nodes/{claim.agent}/hub", claim, HubView)

    async def ask_proof(self, lease_id: str, request: ProofRequest) -> Challenge:
        """Asks, as a lease's renter, for a challenge to the GPUs that are rented."""
        return await self._post(f"/v1/leases/{lease_id}/challenges", request, Challenge)

    async def commit(self, commit: ChallengeCommit) -> CommitReply:
        """Commits to finished chains, and gets what comes next."""
        return await self._post(self._challenge_path(commit, "commit"), commit, CommitReply)

    async def prove_residency(self, answer: ResidencyAnswer) -> OpeningRequest:
        """Shows that the chains are still held, and gets what is to be opened."""
        return await self._post(self._challenge_path(answer, "residency"), answer, OpeningRequest)

    async def open(self, opening: ChallengeOpening) -> ChallengeVerdict:
        """Opens what was asked of some GPUs, and gets the verdict so far."""
        return await self._post(self._challenge_path(opening, "open"), opening, ChallengeVerdict)

    async def answer_lease(self, result: LeaseResult) -> LeaseReply:
        """Says what the hook did."""
        return await self._post(f"/v1/nodes/{result.agent}/leases/{result.lease_id}", result, LeaseReply)

    async def inspect(self, report: InspectionReport) -> InspectionReply:
        """Deposits an inspection report."""
        return await self._post("/v1/inspections", report, InspectionReply)

    async def inspection_nonce(self, key: ApiKey) -> str:
        """Asks, as the operator, for a nonce to bind an inspection to."""
        path = "/v1/inspections/nonces"
        headers = key.headers("POST", path, "", b"", self.clock.now_ms())
        given = read_object(await self._wire.send("POST", self._url + path, headers), path).get("nonce")
        if not isinstance(given, str):
            raise BadAnswer(f"POST {path}: answered without a nonce")
        return given

    def _challenge_path(self, message: ChallengeCommit | ResidencyAnswer | ChallengeOpening, step: str) -> str:
        return f"/v1/nodes/{message.agent}/challenges/{message.challenge_id}/{step}"

    async def _timed(self, path: str, message: Model, reply: type[TimedReply]) -> TimedReply:
        sent_ms = mono_ms()
        answer = await self._post(path, message, reply)
        self.clock.observe(answer.server_time_ms, sent_ms, mono_ms())
        return answer

    async def _post(self, path: str, message: Model, reply: type[Reply]) -> Reply:
        return await self._wire.read(reply, "POST", self._url + path, JSON_HEADERS, message.canonical())


class GatewayClient:
    """The gateway's REST API, signed; and market_data's, which anyone may read.

    Few requests are under way at once: one that waited in a queue after it was signed would come too late.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        gateway_url: str,
        market_data_url: str,
        key: ApiKey,
        clock: VenueClock | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._wire, self._key, self._clock = Wire(http, patience), key, clock or VenueClock()
        self._gateway_url, self._market_data_url = gateway_url.rstrip("/"), market_data_url.rstrip("/")
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def call(self, method: str, path: str, document: dict | None = None, query: str = "") -> dict:
        """Makes one signed request and returns the JSON of the answer."""
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        url = self._gateway_url + path + (f"?{query}" if query else "")
        async with self._turns:
            sent_path, _, sent_query = httpx.URL(url).raw_path.decode("ascii").partition("?")
            signed = self._key.headers(method, sent_path, sent_query, body, self._clock.now_ms())
            content = await self._wire.send(method, url, signed | (JSON_HEADERS if body else {}), body)
        return read_object(content, f"{method} {url}")

    async def register(self, form: NodeKeyForm) -> None:
        """Registers the node's own key; the same again changes nothing."""
        await self._wire.send("POST", self._gateway_url + "/v1/node-keys", JSON_HEADERS, form.canonical())

    async def pages(self, path: str, **filters: str) -> tuple[list[dict], int]:
        """Returns all items of a paged list, and the event up to which the first page is complete."""
        items: list[dict] = []
        first_seq: int | None = None
        for _ in range(PAGES_MAX):
            page = await self.call("GET", path, query=urlencode(filters))
            try:
                items += page["items"]
                cursor = page["cursor"]
                first_seq = int(page["seq"]) if first_seq is None else first_seq
            except (KeyError, TypeError, ValueError) as error:
                raise BadAnswer(f"GET {path}: the answer is not a page of a list") from error
            if cursor is None:
                return items, first_seq
            if cursor == filters.get("cursor"):
                raise BadAnswer(f"GET {path}: the next page repeats this one")
            filters["cursor"] = cursor
        raise BadAnswer(f"GET {path}: there are more than {PAGES_MAX} pages")

    async def read_market(self, path: str) -> dict:
        """Reads something public."""
        url = self._market_data_url + path
        return read_object(await self._wire.send("GET", url), f"GET {url}")
