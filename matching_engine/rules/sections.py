"""The packed sections of a snapshot: what a state has many of, as little-endian records in an order of their own.

A section is the number of its records and the records; a name is its place in the outline's names, a missing one
`NOTHING`; a client's id is its size and behind the record its text.
"""

from struct import Struct

from matching_engine.rules.state import DIGEST_BYTES

COUNT = Struct("<q")
BALANCE = Struct("<IIqq")  # account, asset, available, held
PERIOD = Struct("<IqII")  # node, start, GPUs committed, GPUs sold
GATE = Struct("<qq")  # kept until, bindings
BINDING = Struct(f"<Iqq{DIGEST_BYTES}sB")  # account, offset, order, digest of the body; the client's id
POSITION = Struct("<qIIIIIqqqqq")  # id, contract, buyer, operator, node, qty, price, escrow, bond, bond left, fee
LINE = Struct("<Iq")  # contract, positions
POSITION_ID = Struct("<q")
ORDER = Struct("<qqIIIqqqIIBBBBB")  # id … left, as in pack_order; the client's id

NOTHING = 0xFFFFFFFF
SIDES = ("buy", "sell")
KINDS = ("limit", "market", "capacity")
TIFS = ("GTG", "IOC", "FOK", "GTD")
