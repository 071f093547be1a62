"""Which client ids have ever named an order, in little memory: sure of those that have not, nearly of the others."""

from collections.abc import Iterator

BITS = 2**26  # 8 MiB; of 5 million names about one unused name in 200 is looked up in the tables for nothing
PLACES = 5


class UsedNames:
    """A Bloom filter of (account, client id)."""

    def __init__(self, bits: int = BITS):
        self._mask, self._bytes = bits - 1, bytearray(bits // 8)

    def add(self, account: str, client_order_id: str) -> None:
        """Note a name."""
        for place in self._places(account, client_order_id):
            self._bytes[place >> 3] |= 1 << (place & 7)

    def may_hold(self, account: str, client_order_id: str) -> bool:
        """Say whether the name may have been noted; False is certain."""
        return all(self._bytes[place >> 3] & 1 << (place & 7) for place in self._places(account, client_order_id))

    def _places(self, account: str, client_order_id: str) -> Iterator[int]:
        place = hash((account, client_order_id))
        step = place >> 32 | 1
        for _ in range(PLACES):
            yield place & self._mask
            place += step
