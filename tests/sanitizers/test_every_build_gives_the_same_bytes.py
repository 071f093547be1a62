"""With run-time checks and under the sanitizers the engine says the same bytes as the ordinary build, without a fault.

Streams of every flavour run through each build, cut and restarted anywhere; then the tests of book, codec and engine.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.builds import ROOT, build, copy_tree, environment_of

pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")

TESTS = ("tests/unit/matching_engine", "tests/engine/test_engine_codec.py", "tests/engine/test_defect_classes.py")
RUN_TIMEOUT_S = 3_600


def runtime(name: str) -> str:
    """Where the compiler has a sanitizer's runtime."""
    return subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()


def sanitizing() -> dict[str, str]:
    """Runtimes come first, Python's own memory is watched as well; what Python never frees is no leak of ours."""
    return {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')} {runtime('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:halt_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
    }


BUILDS = {
    "checked": ({"HOURBOOK_CYTHON_CHECKS": "1"}, dict),
    "sanitized": ({"HOURBOOK_SANITIZE": "1"}, sanitizing),
}


def run(tree: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )


@pytest.fixture(scope="module")
def links(pytestconfig: pytest.Config) -> str:
    """What the ordinary build says."""
    said = run(ROOT, environment_of(), "tests.sanitizers.links", str(pytestconfig.getoption("--per-flavour")))
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", BUILDS)
def test_the_build_gives_the_same_bytes_without_a_fault(name: str, links: str, tmp_path: Path, pytestconfig):
    switches, runtimes = BUILDS[name]
    tree = copy_tree(tmp_path)
    built = build(tree, "--force", **switches)
    assert built.returncode == 0, built.stderr[-4_000:]
    environment = environment_of(**runtimes())
    said = run(tree, environment, "tests.sanitizers.links", str(pytestconfig.getoption("--per-flavour")))
    assert said.returncode == 0, said.stdout + said.stderr[-6_000:]
    assert said.stdout == links
    tested = run(tree, environment, "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS)
    assert tested.returncode == 0, tested.stdout[-6_000:] + tested.stderr[-6_000:]
