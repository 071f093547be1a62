"""A venue before trading, as a log's first records: keys, one product, accounts with money, nodes that are alive."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.ids import HOUR_S, contract_name
from schemas.signing import batch_text
from schemas.venue import (
    NEWEST_RULESET,
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

PRODUCT = "H100SXM80.CNE.F"
START_S = 1_800_000_000 // HOUR_S * HOUR_S
GATE_LEAD_S = 600
BATCH = 500
Record = tuple[int, int, bytes]

TERMS = {
    "product": PRODUCT,
    "grade": "H100SXM80",
    "hub": "CNE",
    "tier": "F",
    "currency": "CNY",
    "lot": 1,
    "tick_micros": 10_000,
    "period_s": HOUR_S,
    "gate_lead_s": GATE_LEAD_S,
    "grace_s": 300,
    "final_after_s": 86_400,
    "maker_fee_bps": 10,
    "taker_fee_bps": 20,
    "settlement_fee_bps": 100,
    "reservation_permille": 300,
    "dead_band_permille": 990,
    "full_damage_permille": 800,
    "bond_permille": (1000, 500, 200, 100),
    "block_trials_per_command": 1000,
}


class Opening:
    """The records in the making."""

    def __init__(self) -> None:
        self.keys = {source: Ed25519PrivateKey.generate() for source in ("admin", "ledger", "delivery")}
        self.numbers = dict.fromkeys(self.keys, 0)
        entries = tuple(
            ServiceKeyEntry(source=source, public_key=key.public_key().public_bytes_raw().hex())
            for source, key in self.keys.items()
        )
        self.values = [Genesis(shard=0, ruleset=NEWEST_RULESET, service_keys=entries).canonical()]

    def send(self, source: str, commands: list[VenueCommand]) -> None:
        """Adds commands of a service, signed, in batches."""
        for first in range(0, len(commands), BATCH):
            self.values.append(self.signed(source, tuple(commands[first : first + BATCH])))

    def signed(self, source: str, commands: tuple[VenueCommand, ...]) -> bytes:
        self.numbers[source] = number = self.numbers[source] + 1
        array = b"[" + b",".join(command.canonical() for command in commands) + b"]"
        signature = self.keys[source].sign(batch_text(source, number, array)).hex()
        return Privileged(source=source, number=number, commands=commands, signature=signature).canonical()

    def records(self) -> list[Record]:
        """The records at the log's beginning."""
        return [(offset, START_S * 1000, value) for offset, value in enumerate(self.values)]


def open_venue(accounts: list[str], amount_micros: int, nodes: dict[str, str], contracts: int) -> list[Record]:
    """The opening of a venue with so many contracts ahead, money in the accounts, and nodes (name to owner)."""
    opening = Opening()
    opening.send("admin", [DefineProduct(**TERMS, horizon_periods=contracts + 2)])
    opening.send(
        "ledger",
        [Credit(transfer_id=f"t-{name}", account=name, asset="CNY", amount_micros=amount_micros) for name in accounts],
    )
    opening.send("delivery", [register(name, owner) for name, owner in nodes.items()])
    names = list(nodes)
    until_ms = (START_S + (contracts + 2) * HOUR_S) * 1000
    for first in range(0, len(names), BATCH):
        opening.send("delivery", [NodesAlive(nodes=tuple(names[first : first + BATCH]), until_ms=until_ms)])
    return opening.records()


def register(name: str, owner: str) -> RegisterNode:
    number = int(name.rpartition("-")[2])
    gpus = (NodeGpu(uuid=f"GPU-{number:08x}-0000", serial=f"S{number}"),)
    return RegisterNode(node=name, account=owner, grade="H100SXM80", hub="CNE", level="T3", gpus=gpus)


def contract_names(count: int) -> list[str]:
    """The contracts that such a venue lists, earliest first."""
    return [contract_name(PRODUCT, START_S + hour * HOUR_S, HOUR_S) for hour in range(2, 2 + count)]
