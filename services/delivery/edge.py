"""The agents' edge: what a node says is checked, written, put on `meter.reports`, and only then acknowledged."""

import asyncio
import secrets
import time

from schemas.accounts import EnrolmentToken
from schemas.nodes import (
    EnrolReply,
    EnrolRequest,
    InspectionReply,
    InspectionReport,
    LeaseAnswered,
    LeaseReply,
    LeaseResult,
    NodeEnrolled,
    NodeInspected,
    message_hash,
    node_id_of,
)
from schemas.signing import enrolment_text
from services.delivery.credentials import CredentialBox
from services.delivery.digests import is_older
from services.delivery.domain import (
    AgentTooOld,
    BadSignature,
    BadToken,
    DeliveryError,
    NodeBarred,
    NodeRetired,
    NotThisNode,
    UnknownLease,
    UnknownNode,
    check_plausible,
    read_token,
)
from services.delivery.effects import now_ms
from services.delivery.moving import Moving, claim_gpus, put_gpu
from services.delivery.nodes import BARRED, RETIRED
from services.delivery.proofs import issue_challenge
from services.delivery.releases import Releases
from services.delivery.reports import check_named_once, first_chain, give_nonce
from services.delivery.settings import Settings
from services.delivery.signatures import check_signature, signed_node
from services.delivery.store import Node, Store, transaction
from services.kit.auth import KeyDirectory
from services.kit.keys import load_public_key, signature_holds
from services.kit.outbox import PromptPublisher
from services.kit.store import Pool

TOKEN_CHECK_S = 0.05


class NonceUnknown(DeliveryError):
    """The inspection's nonce was never given out, has expired, or was used for another report."""

    code, status = "inspection_nonce_refused", 409


class WrongReading(DeliveryError):
    """An inspection shows one GPU's reading beside another's name."""

    code, status = "malformed_request", 400


class Edge:
    """What agents ask for besides reports and proofs: enrolment, leases' answers, inspections."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        publisher: PromptPublisher,
        credentials: CredentialBox,
        moving: Moving,
        releases: Releases,
        directory: KeyDirectory,
    ):
        self._directory = directory
        self._settings, self._pool, self._moving, self._releases = settings, pool, moving, releases
        self._publisher, self._credentials = publisher, credentials

    # -- enrolment

    async def enrol(self, request: EnrolRequest) -> tuple[EnrolReply, bool]:
        """Enrols a node; returns the reply and whether the node is new. A repeat with the same key changes nothing."""
        token, node_id, received_ms = read_token(request.token), node_id_of(request.public_key), now_ms()
        check_signature(request, request.public_key)
        await self._check_token(token)
        if is_older(request.agent_version, self._settings.agent_version_min):
            oldest = self._settings.agent_version_min
            raise AgentTooOld(f"{request.agent_version} is older than {oldest}, the oldest that this venue takes")
        check_plausible(request, self._settings.accept_simulated_nvml)
        self._settings.bands.of(request.grade, request.nvml_simulated)
        if token.expires_ms > received_ms:
            await self._moving.clear_way(node_id, token.account, request.gpus)
        async with transaction(self._pool) as store:
            await store.run("lock_enrolments")
            known = await store.find_node(node_id)
            if known is None:
                if token.expires_ms <= received_ms:
                    raise BadToken("the token has expired")
                if self._directory.has_revoked_token(token.account, token.token_id):
                    raise BadToken("the token was revoked")
                if await store.value("nodes_of_token", token.token_id) >= token.nodes:
                    has_used = "was used before" if token.nodes == 1 else f"has admitted its {token.nodes} nodes"
                    raise BadToken(f"the token {has_used}")
                await store.run("burn_token", token.token_id, node_id)
                await self._admit(store, node_id, token.account, request, received_ms)
            elif known.account != token.account:
                raise BadToken("the node belongs to another account")
            elif known.state == RETIRED:
                raise NodeRetired(f"{node_id} is retired: enrol with a new key, from an empty state folder")
            reply = await self._enrolled(store, await store.node(node_id), received_ms)
        await self._publisher.published()
        if reply.challenge is not None:
            self._releases.note([reply.challenge.challenge_id])
        return reply, known is None

    async def _check_token(self, token: EnrolmentToken) -> None:
        """Raises BadToken unless the gateway gave the token out, and the account asked for just that one.

        The gateway's signature alone would let whoever has its key bind nodes to any account; the account's request on
        the topic alone, whoever reads the topic. The topic may be a moment behind.
        """
        text = enrolment_text(token.account, token.token_id, token.expires_ms, token.nodes)
        if not signature_holds(load_public_key(self._settings.keys_dir, "gateway"), token.signature, text):
            raise BadToken("the token is not signed by the gateway")
        deadline_s = time.monotonic() + self._settings.token_wait_s
        while (asked := self._directory.token(token.token_id)) is None:
            if time.monotonic() > deadline_s:
                raise BadToken("no account has asked for the token")
            await asyncio.sleep(TOKEN_CHECK_S)
        if (asked.account, asked.expires_ms, asked.nodes) != (token.account, token.expires_ms, token.nodes):
            raise BadToken("the account has asked for another token")

    async def _admit(self, store: Store, node_id: str, account: str, request: EnrolRequest, received_ms: int) -> None:
        await claim_gpus(store, account, request.gpus)
        await store.run(
            "insert_node",
            *(node_id, account, request.label, request.hub, request.grade, request.public_key),
            *(request.nvml_simulated, request.boot_id, received_ms),
        )
        for gpu in request.gpus:
            await put_gpu(store, node_id, gpu, request.boot_id, received_ms)
        await store.insert_chain(node_id, first_chain(request.boot_id, secrets.token_hex(32), received_ms))
        deadline_ms = received_ms + self._settings.challenge_deadline_ms
        node, uuids = await store.node(node_id), [gpu.uuid for gpu in request.gpus]
        await issue_challenge(store, self._settings, node, "enrolment", uuids, received_ms, deadline_ms)
        await store.record(
            node_id, NodeEnrolled(node_id=node_id, account=account, received_ms=received_ms, request=request)
        )

    async def _enrolled(self, store: Store, node: Node, received_ms: int) -> EnrolReply:
        chain = await store.chain(node.node_id)
        if chain.nonce_issued_ms != received_ms:
            chain = give_nonce(chain, secrets.token_hex(32), received_ms)
            await store.save_chain(node.node_id, chain)
        open_challenges = await store.challenges.open_of(node.node_id, received_ms)
        limits = self._settings.limits(node.period_ms)
        return EnrolReply(
            node_id=node.node_id,
            account=node.account,
            level=node.level,
            server_nonce=chain.nonce,
            server_time_ms=received_ms,
            report_interval_ms=limits.interval_ms,
            challenge=open_challenges[0] if open_challenges else None,
        )

    # -- leases and inspections

    async def answer_lease(self, node_id: str, lease_id: str, result: LeaseResult) -> LeaseReply:
        """Takes down what the operator's hook did; the credential stays here, sealed."""
        await signed_node(self._pool, node_id, result)
        received_ms = now_ms()
        async with transaction(self._pool) as store:
            lease = await store.leases.find(lease_id)
            if lease is None or lease.node != node_id or result.lease_id != lease_id:
                raise UnknownLease(f"the node has no lease {lease_id}")
            if result.action == "start":
                sealed = self._credentials.seal(lease_id, result.credential)
                door = (result.endpoint, sealed, result.host_key)
                is_first = await store.leases.answer_start(lease_id, received_ms, *door)
            else:
                is_first = await store.leases.answer_stop(lease_id, received_ms)
            if is_first:
                answered = LeaseAnswered(
                    node_id=node_id,
                    received_ms=received_ms,
                    lease_id=lease_id,
                    action=result.action,
                    ok=result.ok,
                    endpoint=result.endpoint,
                    detail=result.detail,
                    host_key=result.host_key,
                )
                await store.record(node_id, answered)
        await self._publisher.published()
        return LeaseReply(lease_id=lease_id, recorded=True)

    async def inspect(self, report: InspectionReport) -> InspectionReply:
        """Takes a signed report of GPUs' condition, bound to the node's last nonces or to one that a user was given.

        A buyer who waits for goods may sign with a key that is no node's yet: his own nonce says whose key it is. He
        may report whatever he received, as long as it is not somebody else's.
        """
        received_ms, inspection_id = now_ms(), message_hash(report)
        if node_id_of(report.public_key) != report.agent:
            raise BadSignature("the report names another key than the node's")
        check_signature(report, report.public_key)
        uuids = [gpu.inventory.uuid for gpu in report.gpus]
        check_named_once(uuids)
        for gpu in report.gpus:
            if gpu.reading.uuid != gpu.inventory.uuid:
                raise WrongReading(f"gpus: the reading of {gpu.inventory.uuid} is of {gpu.reading.uuid}")
        async with transaction(self._pool) as store:
            node = await store.find_node(report.agent)
            if node is not None and node.state in BARRED:
                raise NodeBarred(f"the node is {node.state}: {node.reason}")
            recent = () if node is None else (await store.chain(node.node_id)).recent_nonces
            asked_by = None
            if report.nonce not in recent:
                asked_by = await store.hardware.use_nonce(report.nonce, inspection_id, received_ms)
                if asked_by is None:
                    raise NonceUnknown("the nonce was not given out for this, or not lately")
            account = asked_by if node is None else node.account
            is_buyers = account == asked_by and await store.hardware.awaits_goods(account)
            if node is None and not is_buyers:
                raise UnknownNode(report.agent)
            own = set() if node is None else {gpu.uuid for gpu in await store.gpus(node.node_id)}
            others = await store.hardware.gpus_of_others(uuids, report.agent, account)
            if others or not (is_buyers or set(uuids) <= own):
                raise NotThisNode("the report names GPUs that are not this node's")
            if await store.hardware.insert_inspection(inspection_id, account, received_ms, report):
                inspected = NodeInspected(node_id=report.agent, received_ms=received_ms, report=report)
                await store.record(report.agent, inspected)
        await self._publisher.published()
        return InspectionReply(inspection_id=inspection_id, received_ms=received_ms)
