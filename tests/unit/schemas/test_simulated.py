"""Every message that names a node or a lease says whether its GPUs are simulated, or stands here with the reason."""

import importlib
import inspect
import pkgutil

import schemas
from schemas.base import Model

NAMES = {"node", "node_id", "node_keys", "lease_id", "lease_ids", "agent"}
MARKS = {"simulated", "nvml_simulated"}
EXCEPTIONS = {
    "a client sends it, and the answer to it is marked": {
        "OrderForm",
        "CapacityForm",
        "NodeRecall",
        "NodeMaintenance",
        "NodeDispute",
        "TripAnswer",
        "ChainRequest",
        "ChallengeWait",
        "ChallengeCommit",
        "ResidencyAnswer",
        "ChallengeOpening",
        "LeaseResult",
        "PlaceRequest",
        "ProofRequest",
    },
    "only the node itself, or the renter's meter inside a lease, gets it, which has said or seen what its GPUs are": {
        "Challenge",
        "EnrolReply",
        "GpuChangeReply",
        "GpuProcess",
        "HubClaim",
        "HubReceipt",
        "LeaseReply",
        "LeaseStart",
        "LeaseStop",
        "RenterPlace",
    },
    "a record of the engine's log: the engine decides by no hardware, and does not know it": {
        "CapacityAccepted",
        "GpusNominated",
        "NodeDown",
        "NodeLivenessChanged",
        "NodeRegistered",
        "NominateGpus",
        "OrderAccepted",
        "PlaceOrder",
        "PositionEnded",
        "PositionSettled",
        "PostCapacity",
        "RegisterNode",
        "Trade",
    },
    "a record that services keep for themselves; the node's enrolment in the same topic has the mark": {
        "ApiKeySet",
        "ChainMoved",
        "ChallengeJudged",
        "DisputeRecorded",
        "DoorTried",
        "GpusChanged",
        "HubMeasured",
        "LeaseAnswered",
        "NodeEnrolled",
        "NodeInspected",
        "NodeReleased",
        "NodeReported",
        "RenterJoined",
        "RenterReported",
        "RequestAnswered",
    },
    "shown inside MeterRecordView and ReceiptFile alone, whose mark stands beside it; its bytes are hashed": {
        "MeterInputs",
    },
    "names keys, each of which GET /v1/keys shows with its node and the mark": {"TokenView"},
}


def models() -> dict[str, type[Model]]:
    found = {}
    for module in pkgutil.walk_packages(schemas.__path__, "schemas."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, Model) and value.__module__ == module.name:
                found[name] = value
    return found


def test_every_message_that_names_a_node_says_whether_it_is_simulated_or_why_not():
    excepted = set().union(*EXCEPTIONS.values())
    naming = {name: model.model_fields.keys() for name, model in models().items() if NAMES & model.model_fields.keys()}
    unmarked = {name for name, fields in naming.items() if not MARKS & fields}
    assert unmarked == excepted
    assert sum(map(len, EXCEPTIONS.values())) == len(excepted)
