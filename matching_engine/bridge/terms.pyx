"""What orders have to know of a contract, copied from the rules' products into its struct."""

from libc.stdint cimport int64_t

from matching_engine.bridge.core cimport Core
from matching_engine.pools.memory cimport NIL
from matching_engine.records.exchange cimport Contract

from matching_engine.rules.products import gate_ms, is_open
from matching_engine.rules.store import Terms
from matching_engine.rules.trade_watch import is_watched


cdef int read_terms(Core core, Contract* contract, object product, int64_t start_s) except -1:
    """What stays as it is once a contract is listed."""
    terms = product.terms(start_s)
    contract.start_s = start_s
    contract.product = core.product(terms.product)
    core.exchange.products[contract.product].first_s = product.versions[0][0]
    core.exchange.products[contract.product].period_s = terms.period_s
    contract.currency = core.asset(terms.currency)
    contract.grade, contract.hub = core.label(terms.grade), core.label(terms.hub)
    contract.tick, contract.lot, contract.period_s = terms.tick_micros, terms.lot, terms.period_s
    contract.maker_fee_bps, contract.taker_fee_bps = terms.maker_fee_bps, terms.taker_fee_bps
    contract.gate_ms = gate_ms(product, start_s)
    if contract.bids != NIL:
        contract.gate = core.gate(contract.gate_ms)
    for level in range(4):
        contract.bond_permille[level] = terms.bond_permille[level]
    return 0


cdef bint may_trade(state, product) except -1:
    """Whether orders of a product are ordinary ones, as far as its gates are open."""
    return product.state == "OPEN" and not is_watched(state, product)


cdef int read_trading(Contract* contract, object product, bint trades, int64_t version) except -1:
    """What may be another thing after every command of the venue."""
    contract.version = version
    contract.trading = trades and contract.bids != NIL and is_open(product, contract.start_s)
    contract.last_index = product.last_index_micros or 0
    contract.trials_max = product.newest.block_trials_per_command
    return 0


class StructTerms(Terms):
    """Terms of which the exchange's structs have copies."""

    def __init__(self, store):
        super().__init__(store.state, store.note_change)
        self.note_limits = store.note_limits

    def set_limits(self, account, limits):
        """The account's orders are the rules' in Python to decide, or no longer."""
        super().set_limits(account, limits)
        self.note_limits(account)
