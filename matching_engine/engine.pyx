"""The compiled engine: ordinary orders and cancels in C, every other command by the reference's rules on its records."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp, strlen

from matching_engine.market cimport CompiledMarket
from matching_engine.order_entry cimport cancel_order, place_order

from matching_engine.errors import OffsetGap
from matching_engine.market import Market
from matching_engine.records import compile_state, plain_state
from matching_engine.reference import snapshot
from matching_engine.reference.engine import DIGEST_EVERY_OFFSETS, read
from matching_engine.reference.engine import Engine as ReferenceEngine
from matching_engine.reference.state import State
from schemas.events import BalanceDigest
from schemas.venue import Genesis, Privileged, Tick


class Engine(ReferenceEngine):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""

    def __init__(self, state=None):
        self.state = compile_state(state or State())
        self.market = Market(self.state)

    def apply(self, records):
        """Applies records (offset, broker's timestamp in ms, value). Raises OffsetGap where one is not the next."""
        cdef CompiledMarket market = self.market
        cdef list events = []
        cdef int64_t next_offset = self.state.next_offset
        cdef int64_t ts_ms
        try:
            for offset, ts_ms, value in records:
                if offset != next_offset:
                    raise OffsetGap(f"offset {offset} where {next_offset} is next")
                market.offset = next_offset
                next_offset += 1
                if not (type(value) is bytes and apply_order(market, ts_ms, value)):
                    self.apply_other(ts_ms, value)
                if market.ruleset and market.offset % DIGEST_EVERY_OFFSETS == 0:
                    market.emit(BalanceDigest, digest=self.balance_digest())
                market.seal(events)
        finally:
            self.state.next_offset = next_offset
            market.store()
        return events

    def apply_other(self, ts_ms, value):
        """Time moves, then the reference applies the command to the same records."""
        cdef CompiledMarket market = self.market
        command = read(value)
        market.pass_time(ts_ms, isinstance(command, Tick))
        market.store()
        self.execute(command)
        if isinstance(command, Privileged | Genesis):
            market.version += 1
        market.load()

    def snapshot(self):
        """The whole state as canonical bytes, the same that the reference gives."""
        self.market.keep_prices()
        return snapshot.write(plain_state(self.state))


cdef bint apply_order(CompiledMarket market, int64_t ts_ms, bytes record) except -1:
    """Whether the record was an order or a cancel that could be applied in C."""
    cdef bint places = is_type(record, b'{"type":"place_order"')
    if not market.ruleset or not (places or is_type(record, b'{"type":"cancel_order"')):
        return False
    market.pass_time(ts_ms, False)
    return place_order(market, record) if places else cancel_order(market, record)


cdef bint is_type(bytes record, const char* begin) noexcept:
    cdef size_t size = strlen(begin)
    return <size_t>PyBytes_GET_SIZE(record) > size and memcmp(PyBytes_AS_STRING(record), begin, size) == 0
