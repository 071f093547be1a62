"""A field that came later changes no byte of the messages that were signed before it."""

from schemas.base import Model, added
from schemas.nodes import GpuProcess, LeaseStart


class Message(Model):
    """A message whose second field came later."""

    first: int
    second: tuple[str, ...] = added(())


def test_a_field_that_came_later_is_left_out_while_it_has_its_default():
    assert Message(first=1).canonical() == b'{"first":1}'
    assert Message(first=1, second=("a",)).canonical() == b'{"first":1,"second":["a"]}'


def test_a_message_from_before_is_read_and_keeps_its_canonical_bytes():
    before = b'{"pid":1,"memory_mib":2,"lease_id":"lease-1"}'
    process = GpuProcess.from_canonical(before)
    assert (process.whose, process.belongs_to("lease-1"), process.belongs_to(None)) == ("lease", True, False)
    start = (
        b'{"lease_id":"lease-1","position_ids":[1],"contract":"H100SXM80.CNE.F-26112213","gpu_uuids":["GPU-00000001"],'
        b'"starts_ms":1,"ends_ms":2,"access_reference":"lease-1"}'
    )
    assert LeaseStart.from_canonical(start).ssh_keys == ()
