"""A venue without processes: it writes a command log, signs what services send, and keeps what the engine answers."""

import json
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.base import Model
from schemas.ids import contract_name
from schemas.orders import PlaceOrder
from schemas.signing import batch_text
from schemas.venue import (
    NEWEST_RULESET,
    PERMISSIONS,
    Credit,
    DefineProduct,
    Genesis,
    NodeGpu,
    NodesAlive,
    Privileged,
    RegisterNode,
    ServiceKeyEntry,
    VenueCommand,
)

MIDNIGHT_MS = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * 1000
HOUR_S = 3600
PRODUCT = "H100SXM80.CNE.F"
KEYS = {source: Ed25519PrivateKey.from_private_bytes(source.ljust(32, ".").encode()) for source in PERMISSIONS}


def public_key(source: str) -> str:
    return KEYS[source].public_key().public_bytes_raw().hex()


def genesis(**changes: Any) -> Genesis:
    """The first record, with every service's key."""
    entries = tuple(ServiceKeyEntry(source=source, public_key=public_key(source)) for source in KEYS)
    return Genesis(**{"shard": 0, "ruleset": NEWEST_RULESET, "service_keys": entries} | changes)


def product_terms(product: str = PRODUCT, **changes: Any) -> DefineProduct:
    """The usual terms, without fees, listed for a day."""
    grade, hub, tier = product.split(".")
    terms = {
        "product": product,
        "grade": grade,
        "hub": hub,
        "tier": tier,
        "currency": "CNY",
        "lot": 8 if grade.endswith("X8") else 1,
        "tick_micros": 10_000,
        "period_s": HOUR_S,
        "horizon_periods": 24,
        "gate_lead_s": 600,
        "grace_s": 300,
        "final_after_s": 86_400,
        "maker_fee_bps": 0,
        "taker_fee_bps": 0,
        "settlement_fee_bps": 100,
        "reservation_permille": 300,
        "dead_band_permille": 990,
        "full_damage_permille": 800,
        "bond_permille": (1000, 500, 200, 100),
        "block_trials_per_command": 1000,
    }
    return DefineProduct(**terms | changes)


def gpu_uuid(node: str, place: int) -> str:
    """A GPU's UUID that tells its node and place: n1 and 3 give GPU-…e1-03."""
    return f"GPU-{node.encode().hex().rjust(8, '0')}-{place:02d}"


def signed(source: str, number: int, commands: tuple[VenueCommand, ...]) -> Privileged:
    """A batch with the source's own signature."""
    array = b"[" + b",".join(command.canonical() for command in commands) + b"]"
    signature = KEYS[source].sign(batch_text(source, number, array)).hex()
    return Privileged(source=source, number=number, commands=commands, signature=signature)


class Venue:
    """An engine with its log. Every `send` appends a record at the present time and returns its events."""

    def __init__(self, engine: Any, with_genesis: bool = True):
        self.engine = engine
        self.now_ms = MIDNIGHT_MS
        self.records: list[tuple[int, int, bytes]] = []
        self.events: list[bytes] = []
        self.numbers: dict[str, int] = {}
        if with_genesis:
            self.send(genesis())

    def send(self, command: Model | bytes) -> list[dict]:
        """Appends one record."""
        value = command if isinstance(command, bytes) else command.canonical()
        record = (len(self.records), self.now_ms, value)
        self.records.append(record)
        events = self.engine.apply([record])
        self.events += events
        return [json.loads(event) for event in events]

    def batch(self, source: str, *commands: VenueCommand) -> list[dict]:
        """Sends a signed batch with the source's next number."""
        self.numbers[source] = self.numbers.get(source, 0) + 1
        return self.send(signed(source, self.numbers[source], commands))

    # -- what most tests begin with

    def define(self, product: str = PRODUCT, **changes: Any) -> list[dict]:
        return self.batch("admin", product_terms(product, **changes))

    def credit(self, account: str, amount_micros: int, asset: str = "CNY") -> list[dict]:
        transfer_id = f"transfer-{len(self.records)}"
        return self.batch(
            "ledger", Credit(transfer_id=transfer_id, account=account, asset=asset, amount_micros=amount_micros)
        )

    def node(
        self, name: str, account: str, gpus: int, grade_and_hub: str = "H100SXM80.CNE", level: str = "T1"
    ) -> list[dict]:
        """Registers a node and keeps it alive for a day."""
        grade, hub = grade_and_hub.split(".")
        uuids = [gpu_uuid(name, place) for place in range(gpus)]
        entries = tuple(NodeGpu(uuid=uuid, serial=uuid.removeprefix("GPU-")) for uuid in uuids)
        return self.batch(
            "delivery",
            RegisterNode(node=name, account=account, grade=grade, hub=hub, level=level, gpus=entries),
            NodesAlive(nodes=(name,), until_ms=self.now_ms + 86_400_000),
        )


def hour_start_s(hour: int) -> int:
    """The delivery start of an hour, counted from the scenario's midnight."""
    return MIDNIGHT_MS // 1000 + hour * HOUR_S


def contract_of(hour: int, product: str = PRODUCT) -> str:
    """The contract that delivers in an hour, counted from the scenario's midnight."""
    return contract_name(product, hour_start_s(hour), HOUR_S)


def limit_order(number: int, **changes: Any) -> PlaceOrder:
    """A bid of alice's for two GPUs at four o'clock at 2.50, good till the gate."""
    terms = {
        "command_id": f"c-{number}",
        "account": "alice",
        "client_order_id": f"id-{number}",
        "contract": contract_of(4),
        "side": "buy",
        "kind": "limit",
        "qty": 2,
        "price_micros": 2_500_000,
        "max_cost_micros": None,
        "tif": "GTG",
        "post_only": False,
        "node": None,
        "stp": "cancel_newest",
    }
    return PlaceOrder(**terms | changes)
