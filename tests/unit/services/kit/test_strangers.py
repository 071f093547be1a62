"""What an address may ask for before anybody knows who it is; others, and those who are known, are served meanwhile."""

import httpx
import pytest

from services.kit.addresses import group_of
from services.kit.auth import public
from services.kit.http import ProblemError, make_app
from services.kit.readiness import Readiness
from services.kit.settings import Settings
from services.kit.strangers import AddressGuard

SETTINGS = Settings(unsigned_requests_per_s=1, refused_signatures_per_s=1)  # bursts of ten


@pytest.fixture
def guard() -> AddressGuard:
    app = make_app("test", Readiness())

    @app.get("/open")
    @public
    async def show() -> None:
        """Anybody may."""

    @app.get("/signed")
    async def refuse() -> None:
        raise ProblemError("bad_request_signature", "no")

    return AddressGuard(app, SETTINGS, free=lambda path: path == "/v1/free")


async def statuses(guard: AddressGuard, path: str, times: int, address: str = "192.0.2.1", **headers) -> list[int]:
    transport = httpx.ASGITransport(guard, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as client:
        return [(await client.get(path, headers=headers)).status_code for _ in range(times)]


async def test_a32_an_address_has_a_budget_of_unsigned_requests_and_no_other_pays_for_it(guard):
    assert await statuses(guard, "/open", 12) == [200] * 10 + [429] * 2
    assert await statuses(guard, "/open", 1, "192.0.2.2") == [200]
    signed = {"Hourbook-Key": "k"}
    assert await statuses(guard, "/open", 12, **signed) == [200] * 12, "signed ones are paid for by their keys"
    assert await statuses(guard, "/v1/free", 12) == [404] * 10 + [429] * 2, "and free ones, where they are nobody's"
    assert await statuses(guard, "/healthz", 12) == [200] * 12


async def test_a32_signatures_that_fail_are_soon_not_looked_at_any_more(guard):
    signed = {"Hourbook-Key": "k"}
    assert await statuses(guard, "/signed", 12, **signed) == [401] * 10 + [429] * 2
    assert await statuses(guard, "/open", 1, **signed) == [429]
    assert await statuses(guard, "/open", 1, "192.0.2.2", **signed) == [200]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_addresses_that_one_host_may_choose_from_share_a_budget(address, group):
    assert group_of(address) == group
