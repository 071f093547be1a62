"""The gateway's history of vouchers: orders, positions and balances say what of them is whose programme's."""

from schemas.venue import SettlePosition, Tick
from schemas.vouchers import DefineProgramme, FundProgramme, IssueVoucher
from services.gateway.projections.records import asks_the_same
from services.gateway.projections.views import Views
from tests.scenarios.venue import MIDNIGHT_MS, contract_of
from tests.unit.services.gateway.following import FollowedVenue

DAY_MS = 86_400_000
CITY = {"programme": "CITY", "issuer": "city"}


def venue_with_vouchers() -> FollowedVenue:
    venue = FollowedVenue()
    venue.define()
    for account in ("alice", "op", "city"):
        venue.credit(account, 50_000_000)
    venue.node("node-op", "op", 8)
    scope = {"grades": (), "hubs": (), "tiers": (), "operators": (), "copay_permille": 0, "unaffiliated": False}
    terms = {"currency": "CNY", "starts_ms": 0, "expires_ms": MIDNIGHT_MS + DAY_MS, "holder_cap_micros": None}
    venue.batch("admin", DefineProgramme(**CITY, **terms, **scope))
    venue.batch("ledger", FundProgramme(transfer_id="f", **CITY, amount_micros=9_000_000))
    venue.batch("ledger", IssueVoucher(transfer_id="i", **CITY, account="alice", amount_micros=3_000_000))
    venue.send(venue.limit("op", "sell", 4, 1_000_000))
    return venue


def test_orders_positions_and_balances_say_what_of_them_is_vouchers():
    venue = venue_with_vouchers()
    history, bid = venue.history, venue.limit("alice", "buy", 6, 1_000_000, tif="IOC", use_vouchers=True)
    venue.send(bid)
    order, position = history.orders[2], history.positions[1]
    assert (order.use_vouchers, order.voucher_micros, position.voucher_micros) == (True, 2_000_000, 2_000_000)
    assert asks_the_same(bid.model_dump(exclude={"command_id"}), order)
    venue.now_ms = MIDNIGHT_MS + 5 * 3_600_000
    venue.send(Tick())
    meter = {"excused_gpu_s": 0, "delivered_gpu_s": 7200, "used_gpu_s": 7200, "noticed": False, "recalled_gpus": 0}
    venue.batch("delivery", SettlePosition(position_id=1, revision=1, meter_digest="0" * 64, **meter))
    assert (position.contract, position.voucher_used_micros) == (contract_of(3), 1_000_000)
    views = Views(history)
    held = {account: views.balance(history.balances[account, "V.CITY"]) for account in ("alice", "city")}
    shown = {account: (each.available, each.held, each.programme, each.expires) for account, each in held.items()}
    expires = "2026-11-23T00:00:00.000000Z"
    assert shown == {"alice": ("2.00", "0.00", "CITY", expires), "city": ("6.00", "1.00", "CITY", expires)}
