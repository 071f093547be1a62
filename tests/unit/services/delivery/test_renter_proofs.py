"""When a renter gets a challenge to what he rents: while the lease runs, one at a time, a few in all."""

from dataclasses import replace

import pytest

from services.delivery.leases import Lease
from services.delivery.renter_proofs import NoProofNow, issue_to_renter
from services.delivery.settings import Settings
from services.delivery.store import Node
from services.delivery.store.challenges import Challenges
from services.delivery.store.renters import ProofsGiven
from tests.fixtures.delivery import gpu_uuid

LEASE = Lease("lease-7", "node-1", "contract", None, (gpu_uuid(1),), (7,), 500, 9_000, "started")


class Records:
    """A store in which the lease has had some challenges."""

    def __init__(self, given: int, is_open: bool = False, simulated: bool = True):
        self.given, self.simulated, self.renters = ProofsGiven(given, is_open), simulated, self
        self.challenges = Challenges(self)
        self.inserted: list[tuple] = []
        self.issued: list = []

    async def proofs(self, lease_id: str) -> ProofsGiven:
        assert lease_id == "lease-7"
        return self.given

    async def node(self, node_id: str) -> Node:
        facts = dict.fromkeys(Node.__dataclass_fields__)
        return Node(**facts | {"node_id": node_id, "grade": "H100SXM80", "simulated": self.simulated})

    async def run(self, name: str, *values: object) -> None:
        self.inserted.append((name, *values))


def settings() -> Settings:
    return Settings(renter_proofs_max=2, accept_simulated_nvml=True)


async def test_the_renter_is_the_prover_and_the_nodes_agent_hears_nothing():
    store = Records(given=1)
    challenge = await issue_to_renter(store, settings(), LEASE, 1_000)
    assert (challenge.cause, challenge.lease_id, challenge.gpu_uuids) == ("renter", "lease-7", LEASE.gpus)
    ((name, challenge_id, node_id, cause, *_, prover),) = store.inserted
    assert (name, challenge_id, node_id, cause) == ("insert_challenge", challenge.challenge_id, "node-1", "renter")
    assert (prover, store.issued) == ("renter:lease-7", [])


@pytest.mark.parametrize(
    ("changes", "records", "words"),
    [
        ({"state": "ready"}, Records(0), "lease lease-7 does not run now"),
        ({"starts_ms": 1_001}, Records(0), "lease lease-7 does not run now"),
        ({"ends_ms": 1_000}, Records(0), "lease lease-7 does not run now"),
        ({}, Records(1, is_open=True), "a proof of lease lease-7 is under way"),
        ({}, Records(2), "lease lease-7 has had its 2 proofs"),
    ],
    ids=["not let in", "let in before the hour", "over", "one is under way", "no more"],
)
async def test_otherwise_there_is_no_challenge_and_he_hears_why(changes: dict, records: Records, words: str):
    """Holds [D-35]"""
    with pytest.raises(NoProofNow) as refused:
        await issue_to_renter(records, settings(), replace(LEASE, **changes), 1_000)
    assert (str(refused.value), refused.value.status, records.inserted) == (words, 409, [])


def test_shoppers_are_named_one_by_one():
    named = Settings(shopper_accounts=" passer-by, mystery,,").shoppers
    assert (named, Settings().shoppers) == ({"passer-by", "mystery"}, frozenset())
