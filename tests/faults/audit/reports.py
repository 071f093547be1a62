"""Agents' reports: what an agent's own journal says was acknowledged is in the topic and in the meter, once."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from pydantic import TypeAdapter

from console.demo.sites import AgentSite
from schemas.nodes import METER_RECORD, ChainMoved, NodeReported, Report, message_hash
from schemas.topics import METER_REPORTS
from tests.faults.audit.log import read_topic

REPORTS: TypeAdapter[list[Report]] = TypeAdapter(list[Report])
NEVER_PUT_BACK: Mapping[str, int] = {}
METERED = "select node_id, seq, hash from delivery.meter_report order by node_id, seq"


@dataclass
class Reports:
    """Every node's reports on the topic by number; `faults` are versions that contradict each other."""

    records: dict[tuple[str, int], NodeReported] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    moves: list[ChainMoved] = field(default_factory=list)

    @classmethod
    async def read(cls, kafka: dict[str, Any]) -> "Reports":
        """Reads the topic."""
        reports = cls()
        for raw in await read_topic(kafka, METER_REPORTS):
            record = METER_RECORD.validate_json(raw)
            if isinstance(record, ChainMoved):
                reports.moves.append(record)
            elif isinstance(record, NodeReported):
                known = reports.records.setdefault((record.node_id, record.report.seq), record)
                if known != record:
                    reports.faults.append(f"{record.node_id}: report {record.report.seq} in two versions")
        return reports

    def get(self, node_id: str, seq: int) -> tuple[NodeReported | None, str]:
        """Returns a report as it was received, and its hash."""
        record = self.records.get((node_id, seq))
        return record, message_hash(record.report) if record else ""


def acknowledged(site: AgentSite) -> dict[int, str]:
    """Returns the reports that the agent was told were taken, by number with their hashes, from its journal."""
    signed: dict[int, Report] = {}
    taken = 0
    for line in (site.folder / "state" / "chain.journal").read_bytes().split(b"\n")[:-1]:
        kind, _, content = line.partition(b" ")
        match kind:
            case b"report":
                report = Report.model_validate_json(content)
                signed[report.seq] = report
            case b"again":
                signed |= {report.seq: report for report in REPORTS.validate_json(content)}
            case b"taken":
                taken = json.loads(content)["seq"]
    return {seq: message_hash(report) for seq, report in signed.items() if seq <= taken}


def last_taken(site: AgentSite) -> int:
    """Returns the number of the last report that the agent was told was taken."""
    return max(acknowledged(site), default=0)


async def check_reports(
    reports: Reports, sites: list[AgentSite], database_url: str, kept: Mapping[str, int] = NEVER_PUT_BACK
) -> list[str]:
    """Every acknowledged report is on the topic and in the meter's table as it was signed; chains have no hole.

    Where a backup was put back, `kept` says up to which report of each site it must go: behind that the chain may have
    been moved over what was acknowledged later.
    """
    metered: defaultdict[str, dict[int, str]] = defaultdict(dict)
    connection = await asyncpg.connect(database_url)
    try:
        for node_id, seq, digest in await connection.fetch(METERED):
            metered[node_id][seq] = digest
    finally:
        await connection.close()
    faults = list(reports.faults)
    for site in sites:
        moved = [each for each in reports.moves if each.node_id == site.node_id and site.label in kept]
        faults += [f"{site.label}: moved from {each.from_seq}" for each in moved if each.from_seq < kept[site.label]]
        gone = {seq for each in moved for seq in range(each.from_seq + 1, each.seq + 1)}
        mine = {seq: digest for seq, digest in acknowledged(site).items() if seq not in gone}
        table = {seq: digest for seq, digest in metered[site.node_id].items() if seq not in gone}
        if not mine:
            faults.append(f"{site.label} had no report acknowledged: nothing was tested")
        if sorted(table.keys() | gone) != list(range(1, len(table) + len(gone) + 1)):
            faults.append(f"{site.label}: the meter has {sorted(table)}")
        for seq, digest in mine.items():
            if not digest == table.get(seq) == reports.get(site.node_id, seq)[1]:
                faults.append(f"{site.label}: report {seq} was acknowledged, the meter has {table.get(seq)}")
    return faults
