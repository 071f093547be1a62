"""Who has money: accounts and assets under numbers, and a balance for each pair that a posting ever named."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from matching_engine.pools.id_list cimport IdList, free_list
from matching_engine.pools.id_table cimport IdTable, put_id, reserve_id, tag_of
from matching_engine.pools.memory cimport NIL, grow, prefetch, release
from matching_engine.pools.names cimport Names, free_names

cdef enum:
    VENUE = 0                 # the numbers of the venue's own accounts
    GUARANTEE = 1
    RESERVED_ACCOUNTS = 2

cdef struct Balance:
    uint32_t account
    uint32_t asset
    int64_t available
    int64_t held

cdef struct Accounts:
    Names names
    Names assets
    Balance* balances
    IdTable table
    IdList* orders            # by the account's number: those that no node backs
    uint32_t count, capacity, orders_capacity


cdef inline uint64_t balance_key(uint32_t account, uint32_t asset) noexcept nogil:
    return <uint64_t>asset << 32 | account


cdef inline uint32_t find_balance(const Accounts* accounts, uint32_t account, uint32_t asset) noexcept nogil:
    """The slot of a balance, or NIL."""
    cdef uint32_t at = tag_of(balance_key(account, asset)) >> accounts.table.shift
    cdef uint32_t slot
    while True:
        slot = accounts.table.entries[at].slot
        if slot == NIL:
            return NIL
        if accounts.balances[slot].account == account and accounts.balances[slot].asset == asset:
            return slot
        at = (at + 1) & accounts.table.mask


cdef inline void prefetch_balance_entry(const Accounts* accounts, uint32_t account, uint32_t asset) noexcept nogil:
    prefetch(&accounts.table.entries[tag_of(balance_key(account, asset)) >> accounts.table.shift])


cdef inline void prefetch_balance(const Accounts* accounts, uint32_t account, uint32_t asset) noexcept nogil:
    """Begin to load what is mostly the balance of an account."""
    cdef uint32_t slot = accounts.table.entries[tag_of(balance_key(account, asset)) >> accounts.table.shift].slot
    if slot != NIL:
        prefetch(&accounts.balances[slot])


cdef inline uint32_t open_balance(Accounts* accounts, uint32_t account, uint32_t asset) noexcept nogil:
    """The slot of a balance that a posting is about to change."""
    cdef uint32_t slot = find_balance(accounts, account, asset)
    if slot != NIL:
        return slot
    if accounts.count == accounts.capacity:
        grow(<void**>&accounts.balances, &accounts.capacity, sizeof(Balance))
    reserve_id(&accounts.table)
    slot = accounts.count
    accounts.balances[slot] = Balance(account, asset, 0, 0)
    accounts.count += 1
    put_id(&accounts.table, balance_key(account, asset), slot)
    return slot


cdef inline IdList* own_orders(Accounts* accounts, uint32_t account) noexcept nogil:
    """The list of the account's orders that no node backs."""
    cdef uint32_t known
    while account >= accounts.orders_capacity:
        known = accounts.orders_capacity
        grow(<void**>&accounts.orders, &accounts.orders_capacity, sizeof(IdList))
        memset(&accounts.orders[known], 0, (accounts.orders_capacity - known) * sizeof(IdList))
    return &accounts.orders[account]


cdef inline void free_accounts(Accounts* accounts) noexcept nogil:
    cdef uint32_t account
    for account in range(accounts.orders_capacity):
        free_list(&accounts.orders[account])
    release(accounts.orders, accounts.orders_capacity, sizeof(IdList))
    release(accounts.balances, accounts.capacity, sizeof(Balance))
    free(accounts.table.entries)
    free_names(&accounts.names)
    free_names(&accounts.assets)
