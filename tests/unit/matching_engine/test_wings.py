"""The wings of the engine stand on each other in one order: what is below knows nothing of what is above."""

import re
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[3] / "matching_engine"
CIMPORTED = re.compile(r"^from matching_engine\.(\w+)\.?\w* cimport", re.MULTILINE)
BELOW = {
    "pools": set(),
    "records": {"pools"},
    "fast": {"pools", "records"},
    "codec": {"pools", "records"},
    "bridge": {"pools", "records", "fast", "codec"},
    "snapshots": {"pools", "records", "fast", "codec", "bridge"},
}


@pytest.mark.parametrize("wing", BELOW)
def test_a_wing_cimports_only_what_is_below_it(wing: str):
    files = [*(ENGINE / wing).glob("*.pxd"), *(ENGINE / wing).glob("*.pyx")]
    found = {name for file in files for name in CIMPORTED.findall(file.read_text(encoding="utf-8"))}
    assert files and found - {wing} <= BELOW[wing]


def test_every_compiled_wing_is_listed():
    assert {folder.parent.name for folder in ENGINE.glob("*/*.pxd")} == set(BELOW)
