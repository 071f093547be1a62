"""Clients' order ids and what became of them, by account: the dictionaries that the rules know."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from matching_engine.bridge.core cimport Core, number_or_nil
from matching_engine.codec.wire cimport size_of, text_of
from matching_engine.pools.memory cimport NIL
from matching_engine.records.bindings cimport Binding as PackedBinding
from matching_engine.records.bindings cimport (
    DIGEST_BYTES, bind, binding_at, binding_hash, find_binding, gate_of, unbind,
)

from matching_engine.rules.state import Binding


cdef uint32_t find_place(Core core, uint32_t account, str client_order_id) noexcept:
    cdef const char* text = text_of(client_order_id)
    cdef size_t size = size_of(client_order_id)
    return find_binding(
        &core.exchange.bindings, account, text, size, binding_hash(&core.exchange.bindings, account, text, size)
    )


cdef object plain_binding(Core core, uint32_t place):
    """A binding as the rules have it."""
    cdef PackedBinding* binding = binding_at(&core.exchange.bindings, place)
    body = PyBytes_FromStringAndSize(<char*>binding.digest, DIGEST_BYTES).hex()
    until_ms = core.exchange.bindings.gates[gate_of(&core.exchange.bindings, place)].until_ms
    return Binding(body, binding.offset, binding.order_id or None, until_ms)


cdef class AccountBindings:
    """An account's bindings by client order id."""

    def get(self, str client_order_id, otherwise=None):
        if client_order_id is None:
            return otherwise
        cdef uint32_t place = find_place(self.core, self.account, client_order_id)
        return otherwise if place == NIL else plain_binding(self.core, place)

    def __setitem__(self, str client_order_id, binding):
        cdef const char* text = text_of(client_order_id)
        cdef size_t size = size_of(client_order_id)
        cdef uint64_t hashed = binding_hash(&self.core.exchange.bindings, self.account, text, size)
        cdef uint32_t gate = self.core.gate(binding.until_ms)
        cdef bytes digest = bytes.fromhex(binding.body)
        cdef uint32_t place = find_place(self.core, self.account, client_order_id)
        if place != NIL:
            unbind(&self.core.exchange.bindings, place)
        bind(
            &self.core.exchange.bindings, gate, self.account, text, size, hashed, <uint8_t*>PyBytes_AS_STRING(digest),
            binding.offset, binding.order_id or 0,
        )


cdef class Bindings:
    """All bindings by account."""

    def __init__(self, Core core):
        self.core = core

    cdef AccountBindings of(self, uint32_t account):
        cdef AccountBindings bindings = AccountBindings.__new__(AccountBindings)
        bindings.core = self.core
        bindings.account = account
        return bindings

    def get(self, str account, otherwise=None):
        cdef uint32_t number = number_or_nil(&self.core.exchange.accounts.names, account)
        return otherwise if number == NIL else self.of(number)

    def setdefault(self, str account, none):
        return self.of(self.core.account(account))
