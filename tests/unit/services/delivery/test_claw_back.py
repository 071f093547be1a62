"""What a failed proof takes back: time since each GPU's last passed proof, and nothing for the venue's own faults."""

import pytest

from schemas.delivery import DeliveryDisproven, DisprovenTime
from schemas.nodes import ChallengeVerdict, GpuVerdict
from services.delivery.challenges import VENUE_BUSY
from services.delivery.claw_back import claw_back, claw_back_from_inside
from services.delivery.store import Node
from services.delivery.store.challenges import Challenges
from services.delivery.store.positions import Positions
from tests.fixtures.delivery import gpu_uuid

G1, G2, G3 = (gpu_uuid(place) for place in (1, 2, 3))
FAILED_MS = 9_000


class Records:
    """A store of one node's passes, outside leases and inside, that remembers what is written."""

    def __init__(self, passes: dict[str, int], inside: dict[str, int] | None = None):
        self.passes = {("last_passes", "node-1"): passes, ("last_passes_inside", "node-1", "passer-by"): inside or {}}
        self.told, self.written = [], []
        self.positions, self.challenges = Positions(self), Challenges(self)

    async def rows(self, name: str, node_id: str, shoppers: list[str] = ()) -> list[dict]:
        passes = self.passes[name, node_id, *shoppers]
        return [{"gpu": gpu, "passed_ms": passed_ms} for gpu, passed_ms in passes.items()]

    async def publish(self, kind: type, node_id: str, ts_ms: int, **fields: object) -> DeliveryDisproven:
        event = kind(seq=1, ts_ms=ts_ms, node=node_id, **fields)
        self.told.append(event)
        return event

    async def run(self, name: str, *values: object) -> None:
        self.written.append((name, *values))


def node() -> Node:
    facts = dict.fromkeys(Node.__dataclass_fields__)
    return Node(**facts | {"node_id": "node-1"})


def verdict(**reasons: str) -> ChallengeVerdict:
    """A verdict on GPUs by place, "" for one that passed."""
    gpus = tuple(
        GpuVerdict(gpu_uuid=gpu_uuid(int(place[1:])), passed=not reason, reason=reason, operations_per_s=1)
        for place, reason in reasons.items()
    )
    facts = {"challenge_id": "ch-1", "passed": False, "judged_ms": FAILED_MS, "pending": (), "simulated": False}
    return ChallengeVerdict(**facts, gpus=gpus, band="measured")


def time(gpu: str, start_ms: int) -> DisprovenTime:
    return DisprovenTime(challenge_id="ch-1", gpu=gpu, start_ms=start_ms, end_ms=FAILED_MS)


@pytest.mark.parametrize(
    ("reasons", "taken"),
    [
        ({"g1": "row_differs"}, (time(G1, 2_000), time(G2, 5_000), time(G3, 0))),
        ({"g1": "row_differs", "g2": ""}, (time(G1, 2_000), time(G3, 0))),
        ({"g1": "row_differs", "g2": VENUE_BUSY, "g3": ""}, (time(G1, 2_000),)),
    ],
    ids=["one is asked, all answer for it", "one that passed now is spared", "the venue was busy"],
)
async def test_a_failed_proof_takes_the_time_since_each_gpus_last_passed_one(reasons, taken):
    records = Records({G1: 2_000, G2: 5_000, G3: 0})
    await claw_back(records, node(), verdict(**reasons), 9_500)
    assert [event.times for event in records.told] == [taken]
    written = [("insert_disproven", "ch-1", each.gpu, "node-1", each.start_ms, FAILED_MS) for each in taken]
    change = ("note_change", "node-1", min(each.start_ms for each in taken), FAILED_MS, 9_500)
    assert records.written == [*written, change]


async def test_where_every_gpu_has_passed_meanwhile_nothing_is_taken():
    records = Records({G1: FAILED_MS, G2: FAILED_MS + 1})
    await claw_back(records, node(), verdict(g1="row_differs"), 9_500)
    assert (records.told, records.written) == ([], [])


async def test_what_was_passed_outside_says_nothing_where_a_proof_fails_inside():
    records = Records({G1: 8_000, G2: 8_000}, inside={G1: 3_000, G2: 0})
    await claw_back_from_inside(records, node(), verdict(g1="row_differs"), 9_500, {"passer-by"})
    assert [event.times for event in records.told] == [(time(G1, 3_000), time(G2, 0))]
