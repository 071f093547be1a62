"""The agent's HTTP: to delivery's edge with messages that carry their own signature, to the gateway with an API key."""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.errors import BadConfiguration, VenueRefused, VenueUnreachable
from schemas.base import Model
from schemas.nodes import (
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    EnrolReply,
    EnrolRequest,
    InspectionReply,
    InspectionReport,
    LeaseReply,
    LeaseResult,
    OpeningRequest,
    Report,
    ReportReply,
)
from schemas.signing import KEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, request_text

Reply = TypeVar("Reply", bound=Model)
JSON_HEADERS = {"Content-Type": "application/json"}
REQUESTS_AT_ONCE = 8


@dataclass(frozen=True)
class ApiKey:
    """The operator's API key with the scope `operate`."""

    key_id: str
    private_key: Ed25519PrivateKey

    @classmethod
    def load(cls, key_id: str, file: Path) -> "ApiKey":
        """Reads the private half, a 32-byte seed in hex."""
        try:
            return cls(key_id, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text().strip())))
        except (OSError, ValueError) as error:
            raise BadConfiguration(f"{file} is not the private half of an API key: {error}") from error

    def headers(self, method: str, path: str, query: str, body: bytes) -> dict[str, str]:
        """Returns the headers that sign one request."""
        ts_ms, nonce = time.time_ns() // 1_000_000, secrets.token_hex(16)
        text = request_text(method, path, query, body, ts_ms, nonce, self.key_id)
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(ts_ms),
            NONCE_HEADER: nonce,
            SIGNATURE_HEADER: self.private_key.sign(text).hex(),
        }


class DeliveryClient:
    """Delivery's edge, as `schemas.nodes` lists it."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url.rstrip("/")

    async def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Enrols the node."""
        return await self._post("/v1/nodes", request, EnrolReply)

    async def report(self, report: Report) -> ReportReply:
        """Sends one report."""
        return await self._post(f"/v1/nodes/{report.agent}/reports", report, ReportReply)

    async def commit(self, commit: ChallengeCommit) -> OpeningRequest:
        """Commits to finished chains, and gets what is to be opened."""
        return await self._post(self._challenge_path(commit, "commit"), commit, OpeningRequest)

    async def open(self, opening: ChallengeOpening) -> ChallengeVerdict:
        """Opens what was asked, and gets the verdict."""
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
        headers = key.headers("POST", path, "", b"")
        request = self._http.build_request("POST", self._url + path, headers=headers)
        return (await _send(self._http, request)).json()["nonce"]

    def _challenge_path(self, message: ChallengeCommit | ChallengeOpening, step: str) -> str:
        return f"/v1/nodes/{message.agent}/challenges/{message.challenge_id}/{step}"

    async def _post(self, path: str, message: Model, reply: type[Reply]) -> Reply:
        request = self._http.build_request("POST", self._url + path, content=message.canonical(), headers=JSON_HEADERS)
        return reply.model_validate_json((await _send(self._http, request)).content)


class GatewayClient:
    """The gateway's REST API, signed; and market_data's, which anyone may read.

    Few requests are under way at once: one that waited in a queue after it was signed would come too late.
    """

    def __init__(self, http: httpx.AsyncClient, gateway_url: str, market_data_url: str, key: ApiKey) -> None:
        self._http, self._key = http, key
        self._gateway_url, self._market_data_url = gateway_url.rstrip("/"), market_data_url.rstrip("/")
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def call(self, method: str, path: str, document: dict | None = None, query: str = "") -> dict:
        """Makes one signed request and returns the JSON of the answer."""
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        url = self._gateway_url + path + (f"?{query}" if query else "")
        async with self._turns:
            headers = self._key.headers(method, path, query, body) | (JSON_HEADERS if body else {})
            request = self._http.build_request(method, url, content=body, headers=headers)
            return (await _send(self._http, request)).json()

    async def pages(self, path: str, **filters: str) -> list[dict]:
        """Returns all items of a paged list."""
        items: list[dict] = []
        while True:
            page = await self.call("GET", path, query=urlencode(filters))
            items += page["items"]
            if page["cursor"] is None:
                return items
            filters["cursor"] = page["cursor"]

    async def read_market(self, path: str) -> dict:
        """Reads something public."""
        return (await _send(self._http, self._http.build_request("GET", self._market_data_url + path))).json()


async def _send(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    try:
        response = await http.send(request)
    except httpx.TransportError as error:
        raise VenueUnreachable(f"{request.method} {request.url}: {error!r}") from error
    if response.is_success:
        return response
    problem = _problem(response)
    code, detail = problem.get("code", "unknown"), problem.get("detail", response.text[:200])
    if response.status_code >= 500:
        raise VenueUnreachable(f"{request.method} {request.url}: {response.status_code} {code} {detail}")
    raise VenueRefused(response.status_code, code, detail, problem)


def _problem(response: httpx.Response) -> dict:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
