"""What a buyer's machine found against what was listed: by rule, GPU by GPU, so that a rejection rests on facts."""

from collections.abc import Iterator

from schemas.delivery import HardwareInspected
from schemas.listings import Condition, Difference, Finding, ListedGpu
from schemas.nodes import InspectedGpu, InspectionReport
from services.listings.goods import COUNTERS, MEMORY_TOLERANCE_PERCENT, grade_condition, worst

MISSING = "missing"


def compare(listed: tuple[ListedGpu, ...], sold_on: InspectionReport, found: HardwareInspected) -> Difference:
    """Compares a buyer's inspection with the listing and with the report that it was sold on."""
    before = {gpu.inventory.uuid: gpu for gpu in sold_on.gpus}
    now = {gpu.inventory.uuid: gpu for gpu in found.report.gpus}
    findings: list[Finding] = []
    for gpu in listed:
        if gpu.uuid in now:
            findings += _compare_gpu(gpu, before[gpu.uuid], now[gpu.uuid])
        else:
            findings.append(Finding(gpu=gpu.uuid, what="gpu", listed=gpu.serial, found=MISSING, worse=True))
    known = {gpu.uuid for gpu in listed}
    for uuid in sorted(now.keys() - known):
        serial = now[uuid].inventory.serial
        findings.append(Finding(gpu=uuid, what="gpu", listed="not listed", found=serial, worse=False))
    conditions: list[Condition] = [grade_condition(gpu.reading)[0] for gpu in found.report.gpus]
    return Difference(inspection_id=found.inspection_id, condition=worst(conditions), findings=tuple(findings))


def _compare_gpu(listed: ListedGpu, before: InspectedGpu, now: InspectedGpu) -> Iterator[Finding]:
    listed_as, seen = before.inventory, now.inventory
    for what in ("serial", "name", "grade", "board_part_number"):
        yield from _unless_same(listed.uuid, what, getattr(listed_as, what), getattr(seen, what), worse=True)
    if abs(seen.memory_mib - listed_as.memory_mib) * 100 > listed_as.memory_mib * MEMORY_TOLERANCE_PERCENT:
        worse = seen.memory_mib < listed_as.memory_mib
        yield from _unless_same(listed.uuid, "memory_mib", listed_as.memory_mib, seen.memory_mib, worse)
    for what in COUNTERS:
        old, new = getattr(before.reading, what), getattr(now.reading, what)
        if old is not None and new is not None:
            # A lifetime counter that fell is no better news than one that rose.
            yield from _unless_same(listed.uuid, what, old, new, worse=what != "ecc_corrected" or new < old)
    for what in ("present", "healthy"):
        yield from _unless_same(listed.uuid, what, getattr(before.reading, what), getattr(now.reading, what), True)
    condition = grade_condition(now.reading)[0]
    if worst([listed.condition, condition]) != listed.condition:
        yield from _unless_same(listed.uuid, "condition", listed.condition, condition, worse=True)


def _unless_same(gpu: str, what: str, listed: object, found: object, worse: bool) -> Iterator[Finding]:
    if listed != found:
        yield Finding(gpu=gpu, what=what, listed=str(listed), found=str(found), worse=worse)
