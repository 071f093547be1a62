"""Who and what random logs are about, and how often each move comes."""

from schemas.venue import Credit, NodeGpu
from schemas.vouchers import DefineProgramme
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, gpu_uuid

ACCOUNTS = ("alice", "bob", "op", "operator.2")
NODES = {"n1": ("op", 16), "n2": ("op", 48), "n3": ("operator.2", 64), "n4": ("alice", 4)}
PRODUCTS = (PRODUCT, "H100SXM80.CNE.I", "H100SXM80X8.CNE.M", "H100SXM80.CNE.M")
PROGRAMMES = {"CITY": "city", "DELTA": "city", "USA": "operator.2"}
DIGEST = "ab" * 32
HOUR_MS = 3_600_000
ODDS = {
    "place_order": 500,
    "cancel": 200,
    "place_block": 30,
    "post_capacity": 40,
    "change_capacity": 20,
    "resell": 30,
    "replace": 40,
    "place_batch": 8,
    "fall_silent": 3,
    "mass_cancel": 3,
    "pass_time": 60,
    "heartbeats": 30,
    "move_money": 20,
    "settle": 10,
    "dispute": 4,
    "end_blocks": 3,
    "nominate": 8,
    "fix_index": 3,
    "sell_hardware": 5,
    "govern": 2,
    "hold_auction": 3,
    "guard": 3,
    "reopen": 10,
    "err": 10,
}


def gpus_of(node: str, count: int) -> tuple[NodeGpu, ...]:
    uuids = [gpu_uuid(node, place) for place in range(count)]
    return tuple(NodeGpu(uuid=uuid, serial=uuid.removeprefix("GPU-")) for uuid in uuids)


def credit(transfer_id: str, account: str, amount_micros: int, asset: str = "CNY") -> Credit:
    return Credit(transfer_id=transfer_id, account=account, asset=asset, amount_micros=amount_micros)


def define_programmes() -> list[DefineProgramme]:
    """Two of one issuer that overlap, and one in dollars whose issuer rents GPUs out himself."""
    common = {"grades": (), "tiers": (), "starts_ms": 0}
    city = {"programme": "CITY", "issuer": "city", "currency": "CNY", "expires_ms": MIDNIGHT_MS + 4 * HOUR_MS}
    delta = {"programme": "DELTA", "issuer": "city", "currency": "CNY", "expires_ms": MIDNIGHT_MS + 9 * HOUR_MS}
    usa = {"programme": "USA", "issuer": "operator.2", "currency": "USD", "expires_ms": MIDNIGHT_MS + 90 * HOUR_MS}
    city |= {"hubs": (), "operators": (), "copay_permille": 200, "holder_cap_micros": 30_000_000, "unaffiliated": True}
    delta |= {"hubs": ("CNE",), "operators": ("op", "alice"), "copay_permille": 0}
    delta |= {"holder_cap_micros": None, "unaffiliated": False}
    usa |= {"hubs": (), "operators": (), "copay_permille": 333, "holder_cap_micros": None, "unaffiliated": False}
    return [DefineProgramme(**common, **terms) for terms in (city, delta, usa)]
