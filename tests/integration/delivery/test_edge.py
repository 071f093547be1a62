"""What the edge refuses, with its stable codes, and what becomes of broken records on the topic behind it."""

import asyncio
import json

import asyncpg
import pytest

from clients.http import new_credentials
from schemas.nodes import GENESIS_HASH, ChainRequest, InspectedGpu, InspectionReport
from schemas.topics import KEYS_EVENTS, METER_REPORTS, METER_REPORTS_DEAD
from services.kit.keys import load_private_key
from tests.fixtures.command_log import consume, produce
from tests.fixtures.delivery import TestNode, gpu_uuid, reading, reported, signed_token
from tests.fixtures.keys import issued, revoked_token
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import FAR_MS, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


def node_of(seed: int) -> TestNode:
    """A node with two GPUs of its own."""
    return TestNode(seed=seed, gpus=(gpu_uuid(2 * seed), gpu_uuid(2 * seed + 1)))


async def enrolled(venue: Venue, node: TestNode) -> PlayedAgent:
    agent = PlayedAgent(node, venue.http)
    await agent.enrol(await venue.token("ops", f"token-{node.seed}"))
    return agent


async def code(answer) -> tuple[int, str]:
    answer = await answer
    return answer.status_code, answer.json()["code"]


async def test_a_token_is_the_gateways_in_time_and_for_one_node(venue: Venue):
    first, second = node_of(1), node_of(2)
    token = await venue.token("ops", "t-1")
    assert (await venue.http.post("/v1/nodes", content=first.enrolment(token).canonical())).status_code == 201
    assert (await venue.http.post("/v1/nodes", content=first.enrolment(token).canonical())).status_code == 200
    forged = token.replace('"ops"', '"eve"')
    refused = [
        await code(venue.http.post("/v1/nodes", content=second.enrolment(each).canonical()))
        for each in (token, forged, await venue.token("ops", "t-late", expires_ms=3_600_001), "no token")
    ]
    assert refused == [(403, "enrolment_token_refused")] * 4


async def test_a_fleets_token_admits_so_many_nodes_until_it_is_revoked(venue: Venue):
    token = await venue.token("ops", "t-fleet", nodes=2)

    async def enrol(seed: int, with_token: str = token) -> tuple[int, str]:
        answer = await venue.http.post("/v1/nodes", content=node_of(seed).enrolment(with_token).canonical())
        return answer.status_code, answer.json().get("detail", "")

    admitted = [(await enrol(seed))[0] for seed in (61, 62, 61)]
    assert admitted == [201, 201, 200]
    assert await enrol(63) == (403, "the token has admitted its 2 nodes")
    assert await enrol(63, token.replace('"nodes":2', '"nodes":3')) == (
        403,
        "the token is not signed by the gateway",
    )
    leaked = await venue.token("ops", "t-leaked", nodes=9)
    assert (await enrol(64, leaked))[0] == 201
    await venue.join("ops", "operate")
    ended = revoked_token(venue.keys["ops"], "ops", json.loads(leaked)["token_id"])
    await produce(venue.log.bootstrap, KEYS_EVENTS.name, ended.canonical())
    async with asyncio.timeout(10):
        for seed in range(70, 170):  # until the record is read, it still admits
            answer = await enrol(seed, leaked)
            if answer[0] == 403:
                break
            await asyncio.sleep(0.2)
    assert answer == (403, "the token was revoked")
    assert (await enrol(64, leaked))[0] == 200, "what it has admitted stays"


async def test_what_a_broken_gateway_signs_binds_no_node_to_an_account_that_did_not_ask(venue: Venue):
    honest = json.loads(await venue.token("ops", "t-asked", nodes=2))
    gateway, thief = load_private_key(venue.log.keys_dir, "gateway"), new_credentials("thief")
    never_asked = issued(thief, "ops", "t-never", FAR_MS)
    await produce(venue.log.bootstrap, KEYS_EVENTS.name, never_asked.canonical())
    tokens = {
        "for an account that never asked": ("ops", "enrol-minted", FAR_MS, 1),
        "with a record that nobody of the account signed": ("ops", never_asked.token_id, FAR_MS, 1),
        "for another account than asked": ("eve", honest["token_id"], honest["expires_ms"], 2),
        "for more nodes than asked": ("ops", honest["token_id"], honest["expires_ms"], 3),
        "for longer than asked": ("ops", honest["token_id"], honest["expires_ms"] + 1, 2),
    }

    async def enrol(seed: int, *terms: object) -> str:
        token = signed_token(gateway, *terms).canonical().decode()
        answer = await venue.http.post("/v1/nodes", content=node_of(seed).enrolment(token).canonical())
        return f"{answer.status_code} {answer.json()['detail']}"

    answers = await asyncio.gather(*(enrol(seed, *terms) for seed, terms in enumerate(tokens.values(), 80)))
    assert dict(zip(tokens, answers, strict=True)) == {
        "for an account that never asked": "403 no account has asked for the token",
        "with a record that nobody of the account signed": "403 no account has asked for the token",
        "for another account than asked": "403 the account has asked for another token",
        "for more nodes than asked": "403 the account has asked for another token",
        "for longer than asked": "403 the account has asked for another token",
    }
    token = signed_token(gateway, "ops", honest["token_id"], honest["expires_ms"], 2).canonical().decode()
    assert (await venue.http.post("/v1/nodes", content=node_of(80).enrolment(token).canonical())).status_code == 201


async def test_a_gpu_lives_once_in_the_whole_venue(venue: Venue):
    original = node_of(3)
    await enrolled(venue, original)
    clone = TestNode(seed=4, gpus=original.gpus).enrolment(await venue.token("eve", "t-clone"))
    assert await code(venue.http.post("/v1/nodes", content=clone.canonical())) == (409, "gpu_enrolled_elsewhere")


async def test_broken_unsigned_and_foreign_messages_change_nothing(venue: Venue):
    node, other = node_of(5), node_of(6)
    agent = await enrolled(venue, node)
    report = agent.make_report()
    path = f"/v1/nodes/{node.node_id}/reports"
    stolen = other.report(agent.nonce, 0, 1, agent=node.node_id)
    refused = [
        await code(venue.http.post(path, content=b"{")),
        await code(venue.http.post(path, content=b'{"agent":1}')),
        await code(venue.http.post(path, content=stolen.canonical())),
        await code(venue.http.post(path, content=report.model_copy(update={"wall_ms": 5}).canonical())),
        await code(venue.http.post(f"/v1/nodes/{other.node_id}/reports", content=report.canonical())),
        await code(
            venue.http.post(f"/v1/nodes/{other.node_id}/reports", content=other.report("a" * 64, 0, 1).canonical())
        ),
        await code(venue.http.post(path, content=b"x" * 9_000_000)),
    ]
    assert refused == [
        (400, "malformed_request"),
        (400, "malformed_request"),
        (401, "bad_node_signature"),
        (401, "bad_node_signature"),
        (403, "not_this_node"),
        (404, "unknown_node"),
        (413, "body_too_large"),
    ]
    assert (await venue.http.post(path, content=report.canonical())).json()["status"] == "accepted"


async def test_a_report_counts_once_a_nonce_counts_once_and_a_fork_is_quarantine(venue: Venue):
    node = node_of(7)
    agent = await enrolled(venue, node)
    path, first_nonce = f"/v1/nodes/{node.node_id}/reports", agent.nonce
    first = agent.make_report()
    answers = [(await venue.http.post(path, content=first.canonical())).json()["status"] for _ in range(2)]
    assert answers == ["accepted", "duplicate"]
    await venue.wait_for(lambda: venue.is_alive(node.node_id))
    replayed = node.report(first_nonce, agent.mono_ms, agent.mono_ms + 1)
    stale = (await venue.http.post(path, content=replayed.canonical())).json()
    assert (stale["code"], stale["retryable"], len(stale["server_nonce"])) == ("report_nonce_stale", True, 64)
    twin = node_of(7)
    forked = twin.report(first_nonce, 0, 1)
    assert await code(venue.http.post(path, content=forked.canonical())) == (409, "report_forked")
    facts = await venue.node(node.node_id)
    assert (facts["state"], facts["level"], facts["reason"]) == ("quarantined", "T0", "forked_chain")
    assert await code(venue.http.post(path, content=replayed.canonical())) == (403, "node_barred")

    async def is_down() -> bool:
        events = [event for event in await venue.events("node_liveness_changed") if event.node == node.node_id]
        return (events[-1].alive, events[-1].reason) == (False, "forked_chain")

    await venue.wait_for(is_down)


def chain_request(node: TestNode, base: tuple[int, str] = (0, GENESIS_HASH), **changes: object) -> bytes:
    fields = {"agent": node.node_id, "boot_id": node.boot_id, "base_seq": base[0], "base_hash": base[1], "wall_ms": 0}
    return node.sign(ChainRequest, **fields | changes).canonical()


async def test_o07_a_node_that_lost_its_chain_goes_on_where_the_venue_has_it(venue: Venue):
    node = node_of(41)
    agent = await enrolled(venue, node)
    reports, place = f"/v1/nodes/{node.node_id}/reports", f"/v1/nodes/{node.node_id}/chain"
    for _ in range(3):
        answer = (await venue.http.post(reports, content=agent.make_report().canonical())).json()
        agent.nonce, agent.nonce_used = answer["next_nonce"], False
    stands = (await venue.http.post(place, content=chain_request(node))).json()
    assert (stands["seq"], stands["hash"], stands["live_leases"]) == (3, node.last_hash, [])
    restored = TestNode(seed=41, gpus=node.gpus, seq=stands["seq"], last_hash=stands["hash"])
    agent = PlayedAgent(restored, venue.http, nonce=stands["server_nonce"], mono_ms=agent.mono_ms)
    assert (await venue.http.post(reports, content=agent.make_report().canonical())).json()["status"] == "accepted"
    assert (await venue.node(node.node_id))["state"] != "quarantined"


async def test_a7_a_chain_goes_on_behind_reports_that_neither_side_has_and_the_meter_follows(venue: Venue):
    node = node_of(42)
    agent = await enrolled(venue, node)
    reports, place = f"/v1/nodes/{node.node_id}/reports", f"/v1/nodes/{node.node_id}/chain"
    ahead = (500, "5" * 64)
    moved = (await venue.http.post(place, content=chain_request(node, ahead))).json()
    assert (moved["seq"], moved["hash"]) == ahead
    back = (await venue.http.post(place, content=chain_request(node, (7, "7" * 64)))).json()
    assert (back["seq"], back["hash"]) == ahead, "a chain never goes back"
    node.seq, node.last_hash, agent.nonce, agent.nonce_used = *ahead, moved["server_nonce"], False
    answer = (await venue.http.post(reports, content=agent.make_report().canonical())).json()
    assert (answer["status"], answer["seq"]) == ("accepted", 501)
    await venue.wait_for(lambda: venue.is_alive(node.node_id))
    assert (await venue.node(node.node_id))["last_report_ms"] is not None, "the meter took it"


async def test_only_the_nodes_own_key_asks_for_its_chain_and_a_barred_node_moves_nothing(venue: Venue):
    node, other = node_of(43), node_of(44)
    agent = await enrolled(venue, node)
    place = f"/v1/nodes/{node.node_id}/chain"
    refused = [
        await code(venue.http.post(place, content=b"{")),
        await code(venue.http.post(place, content=chain_request(other, agent=node.node_id))),
        await code(venue.http.post(place, content=chain_request(other))),
        await code(venue.http.post(f"/v1/nodes/{other.node_id}/chain", content=chain_request(other))),
    ]
    assert refused == [
        (400, "malformed_request"),
        (401, "bad_node_signature"),
        (403, "not_this_node"),
        (404, "unknown_node"),
    ]
    first = agent.make_report()
    await venue.http.post(f"/v1/nodes/{node.node_id}/reports", content=first.canonical())
    forked = node_of(43).report(first.server_nonce, 0, 1)
    await venue.http.post(f"/v1/nodes/{node.node_id}/reports", content=forked.canonical())
    assert await code(venue.http.post(place, content=chain_request(node, (99, "9" * 64)))) == (403, "node_barred")


@pytest.mark.parametrize("copies", [2, 3, 6])
async def test_copies_of_one_report_at_once_are_one_report_and_never_a_fork(venue: Venue, copies: int):  # A1
    node = node_of(20 + copies)
    agent = await enrolled(venue, node)
    path = f"/v1/nodes/{node.node_id}/reports"
    for _ in range(8):
        body = agent.make_report().canonical()
        answers = await asyncio.gather(*(venue.http.post(path, content=body) for _ in range(copies)))
        assert sorted(answer.json()["status"] for answer in answers) == ["accepted"] + (copies - 1) * ["duplicate"]
        agent.nonce, agent.nonce_used = answers[0].json()["next_nonce"], False
    assert (await venue.node(node.node_id))["state"] != "quarantined"
    forked = TestNode(seed=node.seed, gpus=node.gpus).report("a" * 64, 0, 1)
    assert await code(venue.http.post(path, content=forked.canonical())) == (409, "report_forked")


async def test_copies_of_a_report_that_waited_for_the_database_are_one_report(venue: Venue):  # A1, repro 1
    node = node_of(30)
    agent = await enrolled(venue, node)
    path, report = f"/v1/nodes/{node.node_id}/reports", agent.make_report()
    connection = await asyncpg.connect(venue.settings.database_url, server_settings={"search_path": "delivery"})
    try:
        async with connection.transaction():
            await connection.execute("select from chain where node_id = $1 for update", node.node_id)
            posts = [asyncio.create_task(venue.http.post(path, content=report.canonical())) for _ in range(3)]
            await asyncio.sleep(1)
        answers = await asyncio.gather(*posts)
    finally:
        await connection.close()
    assert sorted(answer.json()["status"] for answer in answers) == ["accepted", "duplicate", "duplicate"]


async def test_a_quarantined_node_sells_again_only_after_a_person_released_it_and_it_proved_itself(venue: Venue):
    admin, node = await venue.join("admin", "admin"), node_of(13)
    async with venue.site("ops", node) as agent:
        forked = node_of(13).report("a" * 64, 0, 1)
        assert (await agent.post(f"/v1/nodes/{node.node_id}/reports", forked)).status_code == 409
        path, form = f"/v1/nodes/{node.node_id}/review", {"decision": "release", "reason": "ticket-7"}
        assert await code(venue.http.post(path, json=form)) == (401, "unsigned_request")
        released = (await admin.post(path, json=form)).json()
        assert (released["state"], released["level"], released["reason"]) == ("enrolled", "T0", "ticket-7")
        assert await code(admin.post(path, json=form)) == (409, "conflict")

        async def is_back() -> bool:
            return (await venue.node(node.node_id))["state"] == "active"

        await venue.wait_for(is_back)


async def test_reports_that_overtake_each_other_are_put_in_order(venue: Venue):
    node = node_of(8)
    agent = await enrolled(venue, node)
    path, nonce = f"/v1/nodes/{node.node_id}/reports", agent.nonce
    first, second, third = (node.report(nonce, n * 10, n * 10 + 10, queued=n > 0) for n in range(3))
    statuses = [
        (await venue.http.post(path, content=report.canonical())).json()["status"]
        for report in (third, second, first, third)
    ]
    assert statuses == ["buffered", "buffered", "accepted", "duplicate"]


async def test_a_driver_that_is_slow_for_one_report_takes_no_asks_and_one_that_stays_so_does(venue: Venue):
    node = node_of(21)
    await venue.join("ops-21", "operate")
    blind = {"present": False, "healthy": False, "blind": True}
    async with venue.site("ops-21", node) as agent:

        async def taken_after(seq: int) -> dict | None:
            """What the venue says of the node, once it has judged the report after this one."""
            found = await venue.node(node.node_id)
            return found if node.seq > seq + 2 else None

        first = node.seq + 2
        agent.facts = lambda uuid: blind if node.seq + 1 == first else {}
        once = await venue.wait_for(lambda: taken_after(first))
        agent.facts = lambda uuid: blind if uuid == node.gpus[0] else {}
        always = await venue.wait_for(lambda: one_left(venue, node))
    registered = [event for event in await venue.events("node_registered") if event.node == node.node_id]
    assert (once["state"], once["reason"]) == ("active", "challenge_passed")
    assert (always["state"], always["reason"], always["fit_gpus"]) == ("active", "meter_blind", [node.gpus[1]])
    assert [len(event.gpus) for event in registered] == [2, 1]


async def one_left(venue: Venue, node: TestNode) -> dict | None:
    """What the venue says of a node once the engine knows of one GPU less."""
    registered = [event for event in await venue.events("node_registered") if event.node == node.node_id]
    return await venue.node(node.node_id) if len(registered) == 2 else None


async def test_a_node_with_half_the_memory_never_sells(venue: Venue):
    node = node_of(9)
    half = node.inventory(node.gpus[0], 0).model_copy(update={"memory_mib": 40_000})
    request = node.enrolment(await venue.token("ops", "t-half"), gpus=(half,))
    assert await code(venue.http.post("/v1/nodes", content=request.canonical())) == (422, "implausible_node")


async def test_broken_records_go_to_the_dead_letters_and_the_partition_goes_on(venue: Venue):
    node, stranger = node_of(10), node_of(11)
    async with venue.site("ops", node):
        forged = stranger.report("a" * 64, 0, 1, agent=node.node_id)
        bad = [b"not json", reported(stranger.report("a" * 64, 0, 1), 1).canonical(), reported(forged, 1).canonical()]
        await produce(venue.log.bootstrap, METER_REPORTS.name, *bad)

        async def buried():
            letters = await consume(venue.log.bootstrap, METER_REPORTS_DEAD.name)
            return letters if len(letters) >= 3 else None

        letters = await venue.wait_for(buried)
        assert letters[0] == b"not json"
        assert [json.loads(letter)["reason"] for letter in letters[1:]] == ["unknown_node", "bad_signature"]
        before = (await venue.node(node.node_id))["last_report_ms"]

        async def goes_on() -> bool:
            return (await venue.node(node.node_id))["last_report_ms"] > before

        await venue.wait_for(goes_on)


async def test_an_inspection_is_bound_to_a_nonce_and_published_whole(venue: Venue):
    node = node_of(12)
    agent = await enrolled(venue, node)
    buyer = await venue.join("buyer", "read")

    async def nonce() -> str | None:
        answer = await buyer.post("/v1/inspections/nonces")
        return answer.json()["nonce"] if answer.status_code == 201 else None

    def inspection(bound_to: str) -> InspectionReport:
        gpu = InspectedGpu(inventory=node.inventory(node.gpus[0], 0), reading=reading(node.gpus[0]))
        return node.sign(
            InspectionReport,
            agent=node.node_id,
            public_key=node.public_key,
            nonce=bound_to,
            driver_version="570.86.15",
            library_sha256="a" * 64,
            agent_version="0.1.0",
            nvml_simulated=True,
            wall_ms=1,
            gpus=(gpu,),
        )

    given = inspection(await venue.wait_for(nonce))
    assert (await agent.post("/v1/inspections", inspection("f" * 64))).status_code == 409
    answers = [await agent.post("/v1/inspections", given) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    inspection_id = answers[0].json()["inspection_id"]

    async def published():
        return [event for event in await venue.delivery_events() if event.type == "hardware_inspected"]

    told = await venue.wait_for(published)
    assert [(each.inspection_id, each.account, each.report) for each in told] == [(inspection_id, "ops", given)]
    shown = (await venue.http.get(f"/v1/inspections/{inspection_id}")).json()
    assert shown["report"] == json.loads(given.canonical())


async def test_users_see_only_what_is_theirs(venue: Venue):
    stranger = await venue.join("stranger", "read")

    async def knows_key():
        answer = await stranger.get("/v1/receipts")
        return answer if answer.status_code == 200 else None

    assert (await venue.wait_for(knows_key)).json() == {"items": [], "cursor": None}
    assert await code(venue.http.get("/v1/receipts")) == (401, "unsigned_request")
    assert await code(stranger.get("/v1/receipts/1")) == (404, "not_found")
    assert await code(stranger.get("/v1/positions/1/meter")) == (404, "not_found")
    assert await code(stranger.get("/v1/positions/1/access")) == (403, "scope_missing")
    assert await code(venue.http.get("/v1/nodes/node-none")) == (404, "not_found")
