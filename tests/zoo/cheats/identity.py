"""L0: a node is somebody else, or its GPUs are another node's."""

import asyncio

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.nodes import EnrolReply, EnrolRequest
from tests.fixtures.delivery import TestNode, signed_token
from tests.zoo.program import REAL, Program


class Twice(Program):
    """Enrols a second node, which a subclass makes, beside an honest first one."""

    @property
    def sellers(self) -> list[str]:
        return [self.other_node().node_id]

    async def run(self) -> None:
        """Lets the first node in, then tries with the second."""
        await self.enrol()
        await asyncio.sleep(1)
        await self.post("/v1/nodes", self.second())

    def second(self) -> EnrolRequest:
        """Makes the second node's request."""
        raise NotImplementedError

    def other_node(self) -> TestNode:
        """Returns a node of another key with the same GPUs."""
        return TestNode(seed=self.node.seed + 500_000, gpus=self.node.gpus, software=dict(REAL))


class ClonedUuid(Twice):
    """A second node names the GPUs of the first."""

    caught_by, sign = "identity", "refused gpu_enrolled_elsewhere"
    held_by = "a key of the database"

    def second(self) -> EnrolRequest:
        return self.other_node().enrolment(self.given.tokens[1])


class ClonedSerial(Twice):
    """A second node names other GPUs with the serial numbers of the first's."""

    caught_by, sign = "identity", "refused gpu_enrolled_elsewhere"
    held_by = "a key of the database"

    def second(self) -> EnrolRequest:
        node = self.other_node()
        gpus = tuple(
            node.inventory(uuid, index).model_copy(update={"uuid": uuid.replace("GPU-", "GPU-f")[:40]})
            for index, uuid in enumerate(node.gpus)
        )
        return node.enrolment(self.given.tokens[1], gpus=gpus)


class TokenUsedTwice(Twice):
    """A second node comes with the token of the first."""

    caught_by, sign = "identity", "refused enrolment_token_refused"
    held_by = "a signature"

    def second(self) -> EnrolRequest:
        node = self.other_node()
        gpus = tuple(
            node.inventory(uuid, index).model_copy(update={"uuid": f"GPU-e{uuid[5:]}", "serial": f"17{index}"})
            for index, uuid in enumerate(node.gpus)
        )
        return node.enrolment(self.given.tokens[0], gpus=gpus)


class ForgedToken(Program):
    """A node signs its own token."""

    caught_by, sign = "identity", "refused enrolment_token_refused"
    held_by = "a signature"

    async def enrol(self) -> EnrolReply | None:
        token = signed_token(Ed25519PrivateKey.generate(), "eve", "t-forged", 4_000_000_000_000)
        self.given.tokens[0] = token.canonical().decode()
        return await super().enrol()


class BannedComesBack(Program):
    """A node is quarantined for a forked chain, and its GPUs come back under a new key."""

    caught_by, sign = "identity", "refused gpu_enrolled_elsewhere"
    held_by = "a key of the database"

    @property
    def sellers(self) -> list[str]:
        return [self.again().node_id]

    async def run(self) -> None:
        await self.enrol()
        path, nonce = f"/v1/nodes/{self.node.node_id}/reports", self.nonce
        await self.report()
        twin = TestNode(seed=self.node.seed, gpus=self.node.gpus, software=dict(REAL))
        await self.post(path, twin.report(nonce, 0, 1))
        await self.post("/v1/nodes", self.again().enrolment(self.given.tokens[1]))

    def again(self) -> TestNode:
        """Returns a node of a new key with the banned one's GPUs."""
        return TestNode(seed=self.node.seed + 600_000, gpus=self.node.gpus, software=dict(REAL))


class SpeaksForAnother(Program):
    """A node reports under another's name."""

    caught_by, sign = "identity", "refused bad_node_signature"
    held_by = "a signature"

    @property
    def sellers(self) -> list[str]:
        return [self.eve().node_id]

    def eve(self) -> TestNode:
        """Returns the node that speaks for another."""
        return TestNode(seed=self.node.seed + 700_000, gpus=self.node.gpus, software=dict(REAL))

    async def run(self) -> None:
        await self.enrol()
        forged = self.eve().report(self.nonce, 0, 1, agent=self.node.node_id)
        await self.post(f"/v1/nodes/{self.node.node_id}/reports", forged)
