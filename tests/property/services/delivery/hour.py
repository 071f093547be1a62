"""The hour that the properties of the meter play: one GPU of one node, and the times in which something was down."""

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from schemas.delivery import Excuse, MeterInputs
from schemas.nodes import NodeReported
from services.delivery.meter import cite_report
from services.delivery.spans import Span, union
from tests.fixtures.delivery import TestNode, gpu_uuid

GPU = gpu_uuid(1)
TEMPLATE = TestNode().report("a" * 64, 0, 1)
STEP_MS, GAP_MS = 10_000, 30_000
START_MS, END_MS = 1_000_000, 1_300_000
FIRST_MS, LAST_MS = START_MS - 60_000, START_MS + 480_000

down = st.lists(
    st.tuples(st.integers(-5, 32), st.integers(1, 120)).map(
        lambda pair: (START_MS + pair[0] * STEP_MS + 3_000, START_MS + pair[0] * STEP_MS + 3_000 + pair[1] * 1_000)
    ),
    max_size=2,
).map(union)


def excused(spans: Iterable[Span], kind: str = "venue_outage") -> tuple[Excuse, ...]:
    """Returns the spans as what excuses them."""
    return tuple(Excuse(start_ms=start_ms, end_ms=end_ms, kind=kind) for start_ms, end_ms in spans)


def inputs_of(records: Sequence[NodeReported], **facts: object) -> MeterInputs:
    """Returns the meter's inputs for a position of that GPU for the hour, with some facts changed."""
    usual = {
        "position_id": 1,
        "contract": "H100SXM80.CNE.F-26112213",
        "node": "node-1",
        "lease_id": "lease-1",
        "qty": 1,
        "gpus": (GPU,),
        "start_ms": START_MS,
        "end_ms": END_MS,
        "offered_ms": START_MS,
        "access_ms": START_MS,
        "released_ms": None,
        "memory_min_mib": 0,
        "gap_ms_max": GAP_MS,
        "throttle_ms_max": 60_000,
        "reports": tuple(map(cite_report, records)),
    }
    return MeterInputs(**(usual | facts))
