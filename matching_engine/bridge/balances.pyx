"""The balances of the rules, on the exchange's structs."""

from hashlib import sha256

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free

from matching_engine.bridge.core cimport Core, number_or_nil, text_of_name
from matching_engine.codec.wire cimport put_bytes, put_int, put_literal, span
from matching_engine.pools.memory cimport NIL, allocate
from matching_engine.pools.names cimport Name, Names
from matching_engine.records.accounts cimport Balance, find_balance, open_balance
from matching_engine.records.exchange cimport Exchange

cdef enum:
    ROW_SIZE_MAX = 192        # two names of 64 characters, two numbers and what parts them


cdef class StructBalances:
    """Every balance that a posting ever named. Nothing but entries and the compiled rules changes them."""

    cdef Core core
    cdef list order           # of slots; complete as long as there are no more balances

    def __init__(self, Core core):
        self.core = core
        self.order = []

    cdef list sorted_slots(self):
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t slot
        if len(self.order) != exchange.accounts.count:
            self.order = sorted(range(exchange.accounts.count), key=self.names_of)
        return self.order

    def names_of(self, uint32_t slot):
        cdef Exchange* exchange = &self.core.exchange
        cdef Balance* balance = &exchange.accounts.balances[slot]
        account = text_of_name(&exchange.accounts.names, balance.account)
        return account, text_of_name(&exchange.accounts.assets, balance.asset)

    def rows(self):
        """Sorted by account and asset."""
        cdef uint32_t slot
        for slot in self.sorted_slots():
            balance = self.core.exchange.accounts.balances[slot]
            yield (*self.names_of(slot), balance.available, balance.held)

    def digest(self):
        """SHA-256 over one line per balance."""
        cdef Exchange* exchange = &self.core.exchange
        cdef list order = self.sorted_slots()
        cdef Balance* balance
        cdef uint32_t slot
        cdef char* text = <char*>allocate(len(order) * ROW_SIZE_MAX + 1)
        cdef char* at = text
        try:
            for slot in order:
                balance = &exchange.accounts.balances[slot]
                at = put_literal(put_plain(at, &exchange.accounts.names, balance.account), b"|")
                at = put_literal(put_plain(at, &exchange.accounts.assets, balance.asset), b"|")
                at = put_literal(put_int(at, balance.available), b"|")
                at = put_literal(put_int(at, balance.held), b"\n")
            return sha256(<const char[:span(text, at)]>text if order else b"").hexdigest()
        finally:
            free(text)

    def available(self, str account, str asset):
        """What the account may spend."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t owner = number_or_nil(&exchange.accounts.names, account)
        cdef uint32_t unit = number_or_nil(&exchange.accounts.assets, asset)
        cdef uint32_t slot = NIL
        if owner != NIL and unit != NIL:
            slot = find_balance(&exchange.accounts, owner, unit)
        return 0 if slot == NIL else exchange.accounts.balances[slot].available

    def post(self, str account, str asset, int64_t available, int64_t held):
        """Moves money. Returns the balance after it."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t unit = self.core.number_of(&exchange.accounts.assets, asset)
        cdef uint32_t slot = open_balance(&exchange.accounts, self.core.account(account), unit)
        cdef Balance* balance = &exchange.accounts.balances[slot]
        balance.available += available
        balance.held += held
        if balance.available < 0 or balance.held < 0:
            raise AssertionError(f"negative balance: {account} {asset}")
        return balance.available, balance.held


cdef char* put_plain(char* at, const Names* names, uint32_t number) noexcept:
    cdef const Name* name = &names.names[number]
    return put_bytes(at, names.text + name.at, name.size)
