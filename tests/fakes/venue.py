"""A venue at the end of the agent's wire: it checks what delivery checks, and shows capacity as the gateway does."""

import asyncio
import json
import secrets
import time
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.accounts import NodeKeyForm
from schemas.challenge import check_chain, draw_opening
from schemas.declarations import NodeMaintenance, NodeRecall
from schemas.delivery import MaintenanceView, RecallView
from schemas.disputes import NodeDispute
from schemas.hubs import HubBeacons
from schemas.ids import contract_name, contract_start_s
from schemas.nodes import (
    GENESIS_HASH,
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
    GpuOpening,
    GpuVerdict,
    InspectionReply,
    InspectionReport,
    LeaseReply,
    LeaseResult,
    LeaseStart,
    LeaseStop,
    OpeningRequest,
    PolicyHint,
    Report,
    ReportReply,
    ResidencyAnswer,
    ResidencyRequest,
    SignedMessage,
    message_hash,
    node_id_of,
    signing_bytes,
)
from schemas.residency import SampledRow, check_residency, residency_key
from schemas.signing import KEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, node_key_text, request_text

GATEWAY, DELIVERY, MARKET_DATA = "http://gateway", "http://delivery", "http://market-data"
SECRET = b"the venue's own"
HELD_S = 0.05
SECOND_NONCE = "2f" * 32
DECLARED = {"disputes": NodeDispute, "signed-recalls": NodeRecall, "signed-maintenance": NodeMaintenance}


class FakeVenue:
    """Set its public attributes to steer it; read them to see what came in."""

    def __init__(self, product: str, api_public_key: str, period_s: int = 3600, interval_ms: int = 20) -> None:
        self.product, self.api_public_key = product, api_public_key
        self.period_s, self.interval_ms = period_s, interval_ms
        self.down = False
        self.silent = False
        self.ahead_s = 0.0
        self.stale_next = False
        self.sell = True
        self.agent_at_least = ""
        self.also_listed: tuple[str, ...] = ()
        self.odd_rows: tuple[dict, ...] = ()
        self.remembers: dict | None = None
        self.retired: list[tuple[str, str | None]] = []
        self.gpu_changes: list[GpuChange] = []
        self.live_leases: tuple[LeaseStart, ...] = ()
        self.declared: list[SignedMessage] = []
        self.chain_requests: list[ChainRequest] = []
        self.moved: tuple[int, str] = (0, GENESIS_HASH)
        self.starts: list[LeaseStart] = []
        self.stops: list[LeaseStop] = []
        self.open_challenges: list[Challenge] = []
        self.offers: list[Challenge] = []
        self.only_held: set[str] = set()
        self.echoes: list[str] = []
        self.is_old = False
        self.enrolments: list[EnrolRequest] = []
        self.reports: list[Report] = []
        self.verdicts: list[ChallengeVerdict] = []
        self.lease_results: list[LeaseResult] = []
        self.inspections: list[InspectionReport] = []
        self.orders: dict[int, dict] = {}
        self.posted: list[dict] = []
        self.repriced: list[dict] = []
        self.positions: list[dict] = []
        self.refusals: list[str] = []
        self.node_keys: list[str] = []
        self._book_seen, self._changes = "", 0
        self._nonce = secrets.token_hex(32)
        self._commits: dict[str, ChallengeCommit] = {}
        self._asked: dict[str, OpeningRequest] = {}
        self._digests: dict[str, dict[str, str]] = {}
        self._opened: dict[str, dict[str, GpuVerdict]] = {}

    def client(self) -> httpx.AsyncClient:
        """Returns a client whose wire ends here."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer_in_time))

    def standing(self) -> list[tuple[int, int, str]]:
        """Returns (start, GPUs, price) of every ask in the books, in order of time."""
        asks = (ask for order in self.orders.values() for ask in order["asks"])
        return sorted((contract_start_s(ask["contract"]), ask["remaining_qty"], ask["price"]) for ask in asks)

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def _answer_in_time(self, request: httpx.Request) -> httpx.Response:
        while self.silent:
            await asyncio.sleep(0.01)
        if request.url.path.endswith("/challenges/next") and not self.offers:
            await asyncio.sleep(HELD_S)
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("the venue is away")
        if request.url.path == "/":
            return _problem(404, "not_found")
        handlers = {"delivery": self._deliver, "gateway": self._trade, "market-data": self._show_market}
        return handlers[request.url.host](request, request.url.path.removeprefix("/v1/").split("/"))

    def _deliver(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        match path:
            case ["nodes"]:
                return self._enrol(EnrolRequest.model_validate_json(request.content))
            case ["nodes", _] if request.method == "GET":
                known = self.remembers
                return _problem(404, "not_found") if known is None else httpx.Response(200, json=known)
            case ["hubs"]:
                return _model(HubBeacons(items=()))
            case ["nodes", _, "gpus"]:
                return self._change_gpus(GpuChange.model_validate_json(request.content))
            case ["nodes", node_id, "retire"]:
                self._check_request(request)
                self.retired.append((node_id, json.loads(request.content)["release_to"]))
                return httpx.Response(200, json={"node": node_id, "state": "retired"})
            case ["nodes", _, "disputes" | "signed-recalls" | "signed-maintenance" as what]:
                return self._declare(DECLARED[what].model_validate_json(request.content))
            case ["nodes", _, "chain"]:
                return self._place_chain(ChainRequest.model_validate_json(request.content))
            case ["nodes", _, "reports"]:
                return self._report(Report.model_validate_json(request.content))
            case ["nodes", _, "challenges", _, "commit"]:
                return self._commit(ChallengeCommit.model_validate_json(request.content))
            case ["nodes", _, "challenges", "next"]:
                return self._offer(ChallengeWait.model_validate_json(request.content))
            case ["nodes", _, "challenges", _, "residency"]:
                return self._draw(ResidencyAnswer.model_validate_json(request.content))
            case ["nodes", _, "challenges", _, "open"]:
                return self._judge(ChallengeOpening.model_validate_json(request.content))
            case ["nodes", _, "leases", _]:
                return self._take_lease_result(LeaseResult.model_validate_json(request.content))
            case ["inspections", "nonces"]:
                return httpx.Response(201, json={"nonce": "7" * 64, "expires_ms": 2**40})
            case ["inspections"]:
                return self._take_inspection(InspectionReport.model_validate_json(request.content))
        raise AssertionError(f"delivery has no {request.url.path}")

    def _enrol(self, request: EnrolRequest) -> httpx.Response:
        self._check(request, request.public_key)
        self.enrolments.append(request)
        reply = EnrolReply(
            node_id=node_id_of(request.public_key),
            account="operator",
            level="T0",
            server_nonce=self._nonce,
            server_time_ms=_wall_ms(),
            report_interval_ms=self.interval_ms,
            challenge=self._new_challenge("enrolment"),
        )
        return _model(reply, 201)

    def chain_end(self) -> tuple[int, str]:
        """Returns number and hash of the last report, or of what the chain was moved behind since."""
        last = self.reports[-1] if self.reports else None
        return max((last.seq, message_hash(last)) if last else (0, GENESIS_HASH), self.moved)

    def _place_chain(self, request: ChainRequest) -> httpx.Response:
        self._check(request)
        self.chain_requests.append(request)
        if request.base_seq > self.chain_end()[0]:
            self.moved = (request.base_seq, request.base_hash)
        seq, digest = self.chain_end()
        reply = ChainReply(
            seq=seq,
            hash=digest,
            server_nonce=self._nonce,
            server_time_ms=_wall_ms(),
            live_leases=self.live_leases,
        )
        return _model(reply)

    def _change_gpus(self, change: GpuChange) -> httpx.Response:
        self._check(change)
        own = {gpu.uuid for gpu in (self.gpu_changes[-1] if self.gpu_changes else self.enrolments[-1]).gpus}
        now = {gpu.uuid for gpu in change.gpus}
        self.gpu_changes.append(change)
        added, removed = tuple(sorted(now - own)), tuple(sorted(own - now))
        return _model(GpuChangeReply(node_id=change.agent, gpus=tuple(sorted(now)), added=added, removed=removed))

    def _report(self, report: Report) -> httpx.Response:
        self._check(report)
        last = self.reports[-1] if self.reports else None
        if last and report.seq == last.seq and message_hash(report) == message_hash(last):
            return self._reply(report, "duplicate")
        assert (report.seq - 1, report.prev_hash) == self.chain_end()
        assert last is None or report.mono_start_ms >= last.mono_end_ms
        if self.stale_next and not report.queued:
            self.stale_next = False
            self._nonce = secrets.token_hex(32)
            return _problem(409, "report_nonce_stale", server_nonce=self._nonce)
        assert report.queued or report.server_nonce == self._nonce
        self.reports.append(report)
        return self._reply(report, "accepted")

    def _reply(self, report: Report, status: str) -> httpx.Response:
        self._nonce = secrets.token_hex(32)
        passed = bool(self.verdicts) and self.verdicts[-1].passed
        reply = ReportReply(
            status=status,
            seq=report.seq,
            next_nonce=self._nonce,
            server_time_ms=_wall_ms(),
            report_interval_ms=self.interval_ms,
            level="T0",
            node_state="active" if passed else "enrolled",
            challenges=tuple(c for c in self.open_challenges if c.challenge_id not in self.only_held),
            start_leases=tuple(self.starts),
            stop_leases=tuple(self.stops),
            hint=PolicyHint(sell=self.sell, reason="" if self.sell else "told so", agent_at_least=self.agent_at_least),
        )
        return _model(reply)

    def _offer(self, wait: ChallengeWait) -> httpx.Response:
        if self.is_old:
            return _problem(404, "not_found")
        self._check(wait)
        self.echoes.append(wait.echo)
        offers, self.offers = tuple(self.offers), []
        return _model(ChallengeOffer(echo=f"{len(self.echoes):032x}", challenges=offers))

    def offer(self) -> Challenge:
        """Makes a challenge that goes to the node over its held request alone."""
        challenge = self._new_challenge("idle")
        self.offers.append(challenge)
        self.only_held.add(challenge.challenge_id)
        return challenge

    def _commit(self, commit: ChallengeCommit) -> httpx.Response:
        self._check(commit)
        self._commits[commit.challenge_id] = commit
        facts = {"challenge_id": commit.challenge_id, "deadline_ms": _wall_ms() + 60_000}
        return _model(
            CommitReply(
                challenge_id=commit.challenge_id,
                residency=ResidencyRequest(nonce=SECOND_NONCE, stride=2, **facts),
            )
        )

    def _draw(self, answer: ResidencyAnswer) -> httpx.Response:
        self._check(answer)
        challenge = next(each for each in self.open_challenges if each.challenge_id == answer.challenge_id)
        self._digests[answer.challenge_id] = {gpu.gpu_uuid: gpu.digest for gpu in answer.gpus}
        gpus = tuple(draw_opening(SECRET, challenge, gpu.gpu_uuid, 1, 4) for gpu in answer.gpus)
        asked = OpeningRequest(challenge_id=answer.challenge_id, deadline_ms=challenge.deadline_ms, gpus=gpus)
        self._asked[answer.challenge_id] = asked
        return _model(asked)

    def _judge(self, opening: ChallengeOpening) -> httpx.Response:
        self._check(opening)
        challenge = next(each for each in self.open_challenges if each.challenge_id == opening.challenge_id)
        heads = {head.gpu_uuid: head.head for head in self._commits[opening.challenge_id].heads}
        asked = {gpu.gpu_uuid: gpu for gpu in self._asked[opening.challenge_id].gpus}
        opened = self._opened.setdefault(opening.challenge_id, {})
        for gpu in opening.gpus:
            uuid = gpu.gpu_uuid
            reason = check_chain(challenge, opening.agent, heads[uuid], asked[uuid], gpu, SECRET)
            reason = reason or self._check_residency(challenge, opening.agent, heads[uuid], gpu)
            opened[uuid] = GpuVerdict(gpu_uuid=uuid, passed=not reason, reason=reason, operations_per_s=1)
        lost = {
            uuid: GpuVerdict(gpu_uuid=uuid, passed=False, reason="missing", operations_per_s=0)
            for uuid in challenge.gpu_uuids
            if uuid not in heads
        }
        verdicts = [(opened | lost)[uuid] for uuid in challenge.gpu_uuids if uuid in opened | lost]
        pending = tuple(uuid for uuid in heads if uuid not in opened)
        verdict = ChallengeVerdict(
            challenge_id=challenge.challenge_id,
            passed=not pending and all(each.passed for each in verdicts),
            judged_ms=_wall_ms(),
            gpus=tuple(verdicts),
            pending=pending,
        )
        if not pending:
            self.verdicts.append(verdict)
            self.open_challenges.remove(challenge)
        return _model(verdict)

    def _check_residency(self, challenge: Challenge, agent: str, head: str, gpu: GpuOpening) -> str:
        key = residency_key(SECOND_NONCE, agent, gpu.gpu_uuid, bytes.fromhex(head))
        digest = bytes.fromhex(self._digests[challenge.challenge_id][gpu.gpu_uuid])
        roots = [bytes.fromhex(root) for root in gpu.residency_roots]
        rows = [
            SampledRow(opened.round, row.index, b64decode(row.values), tuple(map(bytes.fromhex, row.residency_path)))
            for opened in gpu.rounds
            for row in opened.rows
        ]
        return check_residency(key, challenge.n, 2, digest, roots, rows)

    def _take_lease_result(self, result: LeaseResult) -> httpx.Response:
        self._check(result)
        self.lease_results.append(result)
        self.starts = [each for each in self.starts if (each.lease_id, "start") != (result.lease_id, result.action)]
        self.stops = [each for each in self.stops if (each.lease_id, "stop") != (result.lease_id, result.action)]
        return _model(LeaseReply(lease_id=result.lease_id, recorded=True))

    def _take_inspection(self, report: InspectionReport) -> httpx.Response:
        self._check(report, report.public_key)
        self.inspections.append(report)
        return _model(InspectionReply(inspection_id=message_hash(report), received_ms=_wall_ms()), 201)

    def _new_challenge(self, cause: str) -> Challenge:
        challenge = Challenge(
            challenge_id=f"challenge-{secrets.token_hex(4)}",
            cause=cause,
            nonce=secrets.token_hex(32),
            n=32,
            rounds=2,
            gpu_uuids=tuple(gpu.uuid for gpu in self.enrolments[-1].gpus),
            issued_ms=_wall_ms(),
            deadline_ms=_wall_ms() + 60_000,
        )
        self.open_challenges.append(challenge)
        return challenge

    def _declare(self, message: NodeDispute | NodeRecall | NodeMaintenance) -> httpx.Response:
        self._check(message)
        self.declared.append(message)
        match message:
            case NodeMaintenance():
                return _model(
                    MaintenanceView(maintenance_id="mt-1", start_ms=message.start_ms, end_ms=message.end_ms), 201
                )
            case NodeRecall():
                facts = {"position_id": message.position_id, "gpus": message.gpus, "noticed": True}
                return _model(RecallView(recall_id="rc-1", from_ms=message.from_ms or _wall_ms(), **facts), 201)
        return _problem(409, "too_late")

    def _check(self, message: SignedMessage, public_key: str | None = None) -> None:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key or self.enrolments[-1].public_key))
        key.verify(bytes.fromhex(message.signature), signing_bytes(message))

    # -- the market ----------------------------------------------------------------------------------------------------

    def _show_market(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        assert path == ["products"]
        terms = {"period_s": self.period_s, "horizon_periods": 5, "gate_lead_s": 6, "tick": "0.01"}
        rows = [{"product": name} | terms for name in (self.product, *self.also_listed)]
        return httpx.Response(200, json={"items": [*rows, *self.odd_rows], "seq": 1})

    def _register(self, form: NodeKeyForm) -> httpx.Response:
        text = node_key_text(form.token.token_id, form.public_key)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(form.public_key)).verify(bytes.fromhex(form.signature), text)
        if self.refusals:
            return _problem(403, self.refusals.pop(0))
        self.node_keys.append(form.public_key)
        self.api_public_key = form.public_key
        return httpx.Response(201, json={"key_id": node_id_of(form.public_key)})

    def _trade(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        if path == ["node-keys"]:
            return self._register(NodeKeyForm.model_validate_json(request.content))
        self._check_request(request)
        query = request.url.params
        seq = self._book_seq()
        match request.method, path:
            case "GET", ["orders" | "positions"] if "node" in query and query.get("changed_after") == str(seq):
                return _page([], seq)
            case "GET", ["orders"] if "parent_id" in query:
                return _page(self.orders[int(query["parent_id"])]["asks"], seq)
            case "GET", ["orders"]:
                return _page([_without(each, "asks") for each in _of_node(self.orders.values(), query)], seq)
            case "GET", ["positions"]:
                state = query.get("state", "OPEN")
                of_node = _of_node(self.positions, query)
                return _page([each for each in of_node if each.get("state", "OPEN") == state], seq)
            case "POST", ["enrolment-tokens"]:
                token = {"account": "operator", "token_id": "et-1", "expires_ms": 2**40, "signature": "0" * 128}
                return httpx.Response(201, json=token)
            case "POST", ["orders"]:
                return self._post_capacity(json.loads(request.content))
            case "POST", ["capacity", "reprice"]:
                return self._reprice(json.loads(request.content))
            case "DELETE", ["orders", order_id]:
                gone = self.orders.pop(int(order_id), None)
                return httpx.Response(200, json={}) if gone else _problem(404, "unknown_order")
        raise AssertionError(f"the gateway has no {request.method} {request.url.path}")

    def _book_seq(self) -> int:
        """Counts how often the books were seen changed."""
        seen = json.dumps([list(self.orders.values()), self.positions])
        if seen != self._book_seen:
            self._book_seen, self._changes = seen, self._changes + 1
        return self._changes

    def _post_capacity(self, form: dict) -> httpx.Response:
        if self.refusals:
            return _problem(422, self.refusals.pop(0))
        start_s, end_s = (int(datetime.fromisoformat(form[name]).timestamp()) for name in ("from", "to"))
        order_id = len(self.posted) + 1
        self.posted.append(form)
        asks = [
            {
                "order_id": 1000 * order_id + number,
                "parent_id": order_id,
                "contract": contract_name(form["product"], period_start_s, self.period_s),
                "remaining_qty": form["gpus"],
                "price": form.get("floor_price") or form["floor_curve"][period_start_s // 3600 % 24],
                "node": form["node"],
            }
            for number, period_start_s in enumerate(range(start_s, end_s, self.period_s))
        ]
        self.orders[order_id] = {
            "order_id": order_id,
            "kind": "capacity",
            "product": form["product"],
            "node": form["node"],
            "updated_ns": str(time.time_ns()),
            "asks": asks,
        }
        return httpx.Response(201, json={"order": {"order_id": order_id, "filled_qty": 0}})

    def _reprice(self, form: dict) -> httpx.Response:
        order = self.orders.get(form["order_id"])
        if order is None:
            return _problem(422, "order_closed")
        self.repriced.append(form)
        for ask in order["asks"]:
            hour = contract_start_s(ask["contract"]) // 3600 % 24
            ask["price"] = form.get("floor_price") or form["floor_curve"][hour]
        order["updated_ns"] = str(time.time_ns())
        return httpx.Response(200, json={"order": {"order_id": form["order_id"]}, "changed": len(order["asks"])})

    def sell_gpus(self, start_s: int, gpus: int) -> None:
        """Lets a buyer take GPUs of the first ask of a period that has them."""
        for order in self.orders.values():
            for ask in order["asks"]:
                if contract_start_s(ask["contract"]) == start_s and ask["remaining_qty"] >= gpus:
                    ask["remaining_qty"] -= gpus
                    order["updated_ns"] = str(time.time_ns())
                    self.positions.append({"node": ask["node"], "contract": ask["contract"], "qty": gpus})
                    return
        raise AssertionError("nothing to buy")

    def _check_request(self, request: httpx.Request) -> None:
        path, _, query = request.url.raw_path.decode().partition("?")
        text = request_text(
            request.method,
            path,
            query,
            request.content,
            int(request.headers[TIMESTAMP_HEADER]),
            request.headers[NONCE_HEADER],
            request.headers[KEY_HEADER],
        )
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.api_public_key))
        key.verify(bytes.fromhex(request.headers[SIGNATURE_HEADER]), text)


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


def _model(model, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=model.canonical(), headers={"Content-Type": "application/json"})


def _page(items: list[dict], seq: int) -> httpx.Response:
    return httpx.Response(200, json={"items": items, "cursor": None, "seq": seq})


def _of_node(items, query: httpx.QueryParams) -> list[dict]:
    return [item for item in items if item["node"] == query.get("node", item["node"])]


def _problem(status: int, code: str, **members: object) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": code, "retryable": False} | members)


def _without(document: dict, name: str) -> dict:
    return {key: value for key, value in document.items() if key != name}


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
