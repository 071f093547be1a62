"""A broker of the test's own with a begun command log, and a matching service's settings for it."""

from pathlib import Path

import pytest

from infra.embedded import Running
from services.matching.settings import MatchingSettings
from tests.fixtures.command_log import CommandLog


@pytest.fixture
async def log(own_kafka: Running, tmp_path: Path) -> CommandLog:
    log = CommandLog(own_kafka.address, tmp_path / "keys")
    await log.begin()
    return log


@pytest.fixture
def settings(own_kafka: Running, tmp_path: Path) -> MatchingSettings:
    return MatchingSettings(kafka=own_kafka.address, data=tmp_path, snapshot_every_offsets=1_000_000)
