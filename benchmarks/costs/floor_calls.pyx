"""The floor behind one call for each command, with the signature of StreamRunner.apply_one."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "ladder.hpp" namespace "mb":
    cdef cppclass Command "mb::Cmd":
        uint8_t op, side
        uint16_t sym
        uint32_t qty
        int32_t price
        uint32_t uid
        uint64_t oid

    cdef cppclass Header "mb::Hdr":
        uint32_t n_pre, n_cmd, n_sym, flags
        uint64_t max_oid
        int32_t lo, hi

    cdef cppclass Result "mb::Acc":
        uint64_t n

cdef extern from *:
    """
    typedef fl::Ladder<fl::HashId, true> HashedLadder;
    """
    cdef cppclass HashedLadder:
        HashedLadder(const Header&) except +
        void apply(const Command&)
        Result acc


cdef class FloorCalls:
    cdef HashedLadder* ladder

    def __cinit__(self, fill_commands, books, price_min, price_max):
        cdef Header header
        header.n_pre, header.n_sym, header.lo, header.hi = fill_commands, books, price_min, price_max
        self.ladder = new HashedLadder(header)

    def __dealloc__(self):
        del self.ladder

    def apply_one(
        self, uint8_t operation, uint8_t side, uint16_t book, uint32_t quantity, int32_t price, uint32_t account,
        uint64_t order_id
    ):
        cdef uint64_t before = self.ladder.acc.n
        cdef Command command
        command.op, command.side, command.sym, command.qty = operation, side, book, quantity
        command.price, command.uid, command.oid = price, account, order_id
        self.ladder.apply(command)
        return self.ladder.acc.n - before
