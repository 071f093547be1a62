"""How vouchers and the money behind them move between their holder and their issuer."""

from matching_engine.rules.market import Market
from matching_engine.rules.money import Entry
from schemas.events import Posting
from schemas.vouchers import VoucherPart, asset_of

Parts = dict[str, int]


def share(parts: Parts, part: int, whole: int) -> Parts:
    """Takes floor(voucher·part/whole) of all together; each programme's share is in proportion, to the micro-unit."""
    shares, total = {}, 0
    for name, amount in sorted(parts.items()):
        before, total = total, total + amount
        shares[name] = total * part // whole - before * part // whole
    return {name: amount for name, amount in shares.items() if amount}


def less(parts: Parts, taken: Parts) -> Parts:
    """What is left of the parts."""
    left = {name: amount - taken.get(name, 0) for name, amount in parts.items()}
    return {name: amount for name, amount in left.items() if amount}


def more(parts: Parts, added: Parts) -> Parts:
    """The parts and others."""
    return parts | {name: parts.get(name, 0) + amount for name, amount in added.items()}


def event_parts(parts: Parts) -> tuple[VoucherPart, ...]:
    """The parts as events have them."""
    return tuple(VoucherPart(programme=name, amount_micros=amount) for name, amount in sorted(parts.items()))


class Movement:
    """One event's movement of vouchers and of their money: collected first, posted once."""

    def __init__(self, market: Market, currency: str):
        self.market = market
        self.cash = market.entry(currency)
        self.units: dict[str, Entry] = {}

    def hold(self, name: str, account: str, amount: int) -> None:
        """Available vouchers are held, and their money comes from the issuer."""
        self.entry(name).hold(account, amount)
        self.cash.add(account, available=amount).add(self.issuer(name), held=-amount)

    def give_back(self, name: str, account: str, amount: int) -> None:
        """Held vouchers are their holder's again, and their money the issuer's.

        What has lapsed meanwhile returns to the programme.
        """
        has_lapsed = self.market.state.programmes[name].terms.expires_ms <= self.market.now_ms
        self.entry(name).add(account, held=-amount).add(self.issuer(name) if has_lapsed else account, available=amount)
        self.cash.add(account, available=-amount).add(self.issuer(name), held=amount)

    def use_up(self, name: str, account: str, amount: int) -> None:
        """Held vouchers have bought something: the issuer keeps them as used up. A negative amount takes that back."""
        self.entry(name).add(account, held=-amount).add(self.issuer(name), held=amount)

    def entry(self, name: str) -> Entry:
        return self.units.setdefault(name, self.market.entry(asset_of(name)))

    def issuer(self, name: str) -> str:
        return self.market.state.programmes[name].terms.issuer

    def post(self) -> tuple[Posting, ...]:
        """Applies the movement and returns it as postings, sorted by account and asset."""
        return posted(self.cash, *self.units.values())


def posted(*entries: Entry) -> tuple[Posting, ...]:
    """The postings of one event's movements in several assets."""
    return tuple(sorted(posting for entry in entries for posting in entry.post()))
