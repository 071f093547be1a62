"""The hour that the properties of the meter play: one GPU of one node, and the times in which something was down."""

from hypothesis import strategies as st

from services.delivery.spans import union
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
