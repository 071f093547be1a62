"""What happens where memory is out: the process ends at once, with one line that says so."""

import re
import signal
import subprocess
import sys

import pytest

from tests.fixtures.builds import ROOT

pytest.importorskip("benchmarks.harness.book", reason="the compiled engine is not built")

FILLS_ITS_MEMORY = """
import resource
from benchmarks.harness.book import BookSet
books = BookSet(1)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 20),) * 2)
for order_id in range(1, 1_000_000):
    books.rest(0, 0, order_id, 1, order_id)
print("there was memory for everything")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads how much memory it has from /proc")
def test_an_engine_without_memory_aborts_with_one_line():
    ran = subprocess.run([sys.executable, "-c", FILLS_ITS_MEMORY], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (-signal.SIGABRT, "")
    assert re.fullmatch(
        r"hourbook: the matching engine is out of memory: \d+ bytes could not be allocated\n", ran.stderr
    )
