"""The administrator's sender says in words what keeps it from sending, and leaves nothing open."""

import gc
import re

import pytest

from infra.admin import AdminError, send_commands
from infra.keys import make_keys
from infra.ports import free_port
from schemas.venue import SetRuleset

COMMANDS = [SetRuleset(ruleset=2)]


async def test_where_no_exchange_was_started_there_is_no_key(tmp_path):
    said = re.escape(f"no administrator's key at {tmp_path / 'admin' / 'admin.ed25519'}")
    with pytest.raises(AdminError, match=said):
        await send_commands("127.0.0.1:1", tmp_path, COMMANDS)


async def test_where_kafka_is_not_running_its_address_is_named_and_no_client_stays_open(tmp_path, recwarn):
    make_keys(tmp_path)
    port = free_port()
    with pytest.raises(AdminError, match=f"Kafka does not answer at 127.0.0.1:{port}"):
        await send_commands(f"127.0.0.1:{port}", tmp_path, COMMANDS)
    gc.collect()
    assert [str(each.message) for each in recwarn if "Unclosed" in str(each.message)] == []
