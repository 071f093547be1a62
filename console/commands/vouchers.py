"""Commands on vouchers: `vouchers define|group` for the administrator, `vouchers fund|defund|issue` for an issuer."""

from datetime import datetime
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show, show_reply
from clients.cli.session import Signer, ledger
from clients.http import result_of

IdempotencyKey = Annotated[str | None, Parameter(help="Repeating a request with the same key moves nothing.")]


def define(
    programme: str,
    issuer: str,
    currency: str,
    expires: datetime,
    *,
    grades: tuple[str, ...] = (),
    hubs: tuple[str, ...] = (),
    tiers: tuple[str, ...] = (),
    operators: tuple[str, ...] = (),
    copay_permille: int = 0,
    holder_cap: str | None = None,
    unaffiliated: bool = False,
    json: bool = False,
) -> None:
    """Define PROGRAMME of ISSUER, once and for all: vouchers in CURRENCY, valid from now until EXPIRES (UTC)."""
    from console.commands.admin import send
    from schemas.money import parse_micros
    from schemas.vouchers import DefineProgramme

    try:
        command = DefineProgramme(
            programme=programme,
            issuer=issuer,
            currency=currency,
            starts_ms=0,
            expires_ms=int(expires.timestamp() * 1000),
            grades=grades,
            hubs=hubs,
            tiers=tiers,
            operators=operators,
            copay_permille=copay_permille,
            holder_cap_micros=None if holder_cap is None else parse_micros(holder_cap),
            unaffiliated=unaffiliated,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    show([event.terms.model_dump() for event in send([command]) if event.type == "programme_defined"], json=json)


def group(account: str, name: str | None = None, *, json: bool = False) -> None:
    """Say that ACCOUNT belongs to the group of companies NAME; without one, to none."""
    from console.commands.admin import send
    from schemas.vouchers import SetAffiliation

    try:
        command = SetAffiliation(account=account, group=name)
    except ValueError as error:
        raise CommandError(str(error)) from error
    events = [event for event in send([command]) if event.type == "affiliation_set"]
    show([{"account": event.account, "group": event.group or ""} for event in events], json=json)


def fund(
    programme: str,
    amount: str,
    *,
    idempotency_key: IdempotencyKey = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Make AMOUNT of the issuer's money budget of PROGRAMME."""
    return post(f"/v1/programmes/{programme}/fund", {"amount": amount}, idempotency_key, signer, json)


def defund(
    programme: str,
    amount: str,
    *,
    idempotency_key: IdempotencyKey = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Take AMOUNT of PROGRAMME's budget back that nobody holds."""
    return post(f"/v1/programmes/{programme}/defund", {"amount": amount}, idempotency_key, signer, json)


def issue(
    programme: str,
    account: str,
    amount: str,
    *,
    idempotency_key: IdempotencyKey = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Issue AMOUNT of PROGRAMME's budget to ACCOUNT."""
    form = {"account": account, "amount": amount}
    return post(f"/v1/programmes/{programme}/vouchers", form, idempotency_key, signer, json)


def post(path: str, form: dict, idempotency_key: str | None, signer: Signer | None, json: bool) -> int:
    with ledger(signer) as client:
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return show_reply(result_of(client.post(path, json=form, headers=headers)), dict, json=json)


def add_to(app: App) -> None:
    vouchers = App(name="vouchers", help="Voucher programmes: restricted money that buys GPU time only.")
    for command in (define, group, fund, defund, issue):
        vouchers.command(command)
    app.command(vouchers)
