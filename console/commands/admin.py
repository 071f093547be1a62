"""Commands of the venue's administrator: products, trading states, deposits, and the replay that proves the log."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from cyclopts import App, Parameter

from clients.cli.output import CommandError, OutcomeUnknown, show, show_reply
from clients.cli.session import Signer, columns, signed
from clients.http import result_of

ADMIN_KEY = os.environ.get("HOURBOOK_ADMIN_KEY", "admin")
NODE_COLUMNS = columns("node", "account", "grade", "hub", "level", "state", "reason", "simulated")


def products(
    file: Path | None = None,
    *,
    period_s: Annotated[int | None, Parameter(help="Shorten the venue's own products to a sandbox's period.")] = None,
    json: bool = False,
) -> None:
    """Define the products of FILE, a JSON list of product terms; without FILE the venue's own."""
    from infra.reference.products import LeadTooShort, Timing, check_leads, list_products

    timing = Timing() if period_s is None else Timing.sandbox(period_s)
    wanted = list_products(timing) if file is None else read_products(file)
    try:
        check_leads(wanted)
    except LeadTooShort as error:
        raise CommandError(error) from error
    events = send(wanted)
    rows = [event.terms for event in events if event.type == "product_defined"]
    show(
        [{"product": terms.product, "currency": terms.currency, "period_s": terms.period_s} for terms in rows],
        json=json,
    )


def halt(product: str | None = None, *, reason: str = "administrator", json: bool = False) -> None:
    """Halt trading in PRODUCT; without one, in all products."""
    set_state(product, "HALTED", reason, json)


def resume(product: str | None = None, *, reason: str = "administrator", json: bool = False) -> None:
    """Open trading again in PRODUCT; without one, in all products."""
    set_state(product, "OPEN", reason, json)


def cancel_only(product: str | None = None, *, reason: str = "administrator", json: bool = False) -> None:
    """Take cancels but no new orders in PRODUCT; without one, in all products."""
    set_state(product, "CANCEL_ONLY", reason, json)


def cancel_orders(
    account: str,
    *,
    product: str | None = None,
    contract: str | None = None,
    side: Literal["buy", "sell"] | None = None,
    reason: str = "administrator",
    json: bool = False,
) -> None:
    """Cancel the orders of ACCOUNT that fit the filters; without filters, all."""
    from schemas.venue import CancelAccountOrders

    filters = {"product": product, "contract": contract, "side": side, "from_s": None, "to_s": None}
    try:
        command = CancelAccountOrders(account=account, **filters, reason=reason)
    except ValueError as error:
        raise CommandError(str(error)) from error
    events = [event for event in send([command]) if event.type == "account_orders_canceled"]
    rows = [{"account": event.account, "canceled": event.canceled, "reason": event.reason} for event in events]
    show(rows, json=json)


def auction(
    product: str | None = None,
    *,
    opens_after_s: Annotated[int | None, Parameter(help="Open automatically after this many seconds.")] = None,
    reason: str = "administrator",
    json: bool = False,
) -> None:
    """Hold a call auction in PRODUCT; without one, in all. `admin resume` ends it: its books trade at one price."""
    set_state(product, "AUCTION", reason, json, opens_after_s)


def close(product: str | None = None, *, reason: str = "administrator", json: bool = False) -> None:
    """Close trading in PRODUCT; without one, in all products."""
    set_state(product, "CLOSED", reason, json)


def limit_account(
    account: str,
    *,
    max_open_orders: int | None = None,
    max_position_gpus: int | None = None,
    throttle_window_s: int = 0,
    throttle_free_orders: int = 0,
    throttle_orders_per_trade: int = 0,
    json: bool = False,
) -> None:
    """Set what ACCOUNT may do at most, whole: what is not named is not limited."""
    from schemas.venue import SetAccountLimits

    terms = {
        "max_open_orders": max_open_orders,
        "max_position_gpus": max_position_gpus,
        "throttle_window_s": throttle_window_s,
        "throttle_free_orders": throttle_free_orders,
        "throttle_orders_per_trade": throttle_orders_per_trade,
    }
    try:
        command = SetAccountLimits(account=account, **terms)
    except ValueError as error:
        raise CommandError(str(error)) from error
    events = [event for event in send([command]) if event.type == "account_limits_set"]
    show([{"account": event.account} | {name: getattr(event, name) for name in terms} for event in events], json=json)


def void(contract: str, *, reason: str = "venue_fault", json: bool = False) -> None:
    """Declare CONTRACT void, whose gate has closed: escrow, vouchers, fees and bonds go back, for good."""
    from schemas.venue import VoidContract

    try:
        command = VoidContract(contract=contract, reason=reason)
    except ValueError as error:
        raise CommandError(str(error)) from error
    ended = [event for event in send([command]) if event.type == "contract_state_changed"]
    show(
        [{"contract": event.contract, "state": event.state, "positions": event.positions} for event in ended], json=json
    )


def set_ruleset(ruleset: int, *, json: bool = False) -> None:
    """Let the engine go on by newer rules, for good; docs/decisions/0019 says what each RULESET changed."""
    from schemas.venue import NEWEST_RULESET, SetRuleset

    if ruleset > NEWEST_RULESET:
        raise CommandError(f"ruleset {ruleset} is unknown: the newest is {NEWEST_RULESET}")
    try:
        events = send([SetRuleset(ruleset=ruleset)])
    except ValueError as error:
        raise CommandError(str(error)) from error
    except CommandError as error:
        if "bad_terms" in str(error):
            raise CommandError(
                f"the log already follows ruleset {ruleset} or a newer one, and cannot go back"
            ) from error
        raise
    show([{"ruleset": event.ruleset} for event in events if event.type == "ruleset_set"], json=json)


def review(
    node: str,
    *,
    decision: Literal["release", "ban"],
    reason: str = "reviewed",
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Decide on NODE, which is quarantined: a released one proves itself again, a banned one is out for good."""
    form = {"decision": decision, "reason": reason}
    with signed("delivery", signer or Signer()) as client:
        show(NODE_COLUMNS(result_of(client.post(f"/v1/nodes/{node}/review", json=form))), json=json)


def audit(
    node: str,
    *,
    reason: Annotated[str, Parameter(help="How the machine was inspected, in one word.")],
    until: Annotated[str, Parameter(help="Valid until this time, such as 2027-11-22T00:00Z.")],
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Write down that somebody of the venue has looked at NODE's machine, which level T3 needs."""
    from clients.cli.node import moment_ms

    form = {"reason": reason, "valid_until_ms": moment_ms(until)}
    with signed("delivery", signer or Signer()) as client:
        show(NODE_COLUMNS(result_of(client.post(f"/v1/nodes/{node}/audits", json=form))), json=json)


def driver_digest(
    driver: str,
    sha256: str,
    *,
    source: Annotated[str, Parameter(help="How that is known: a package and its version, or NVIDIA's installer.")],
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Pass on that DRIVER comes with the libnvidia-ml.so of digest SHA256; nodes that wait for the answer have it."""
    form = {"driver_version": driver, "library_sha256": sha256, "source": source}
    with signed("delivery", signer or Signer()) as client:
        show(result_of(client.post("/v1/driver-digests", json=form)), json=json)


def rotate_key(source: str, public_key: Path, *, json: bool = False) -> None:
    """Check SOURCE's batches with the hex key in the file PUBLIC_KEY from now on."""
    from schemas.venue import ServiceKey

    try:
        command = ServiceKey(source=source, public_key=public_key.read_text().strip())
    except (OSError, ValueError) as error:
        raise CommandError(f"{public_key}: {error}") from error
    show([{"source": event.source} for event in send([command])], json=json)


def deposit(
    account: str,
    asset: str,
    amount: str,
    *,
    key: Annotated[str | None, Parameter(help="Idempotency key: repeating the same one credits nothing.")] = None,
    json: bool = False,
) -> int:
    """Credit ACCOUNT with AMOUNT (a decimal number) of ASSET that came in from outside."""
    from clients.cli.session import Signer, signed
    from clients.http import result_of

    form = {"account": account, "asset": asset, "amount": amount}
    headers = {"Idempotency-Key": key or uuid4().hex}
    with signed("ledger", Signer(key=ADMIN_KEY)) as ledger:
        return show_reply(result_of(ledger.post("/v1/deposits", json=form, headers=headers)), dict, json=json)


def recover(
    key_id: str,
    *,
    root: Annotated[Path | None, Parameter(help="File of the root key; default: where it was created.")] = None,
    json: bool = False,
) -> None:
    """Register a new administrator's key under KEY_ID, signed by the root key: after a theft, a loss, a revocation."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from clients.cli.session import signed_by
    from clients.http import Credentials, new_credentials, save_credentials
    from infra.places import data_dir
    from infra.root_key import root_file
    from schemas.accounts import ADMIN_ACCOUNT, ALL_SCOPES, ROOT

    keys_dir = data_dir() / "keys"
    file = root or root_file(keys_dir)
    try:
        signer = Credentials(ROOT, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text().strip())))
        credentials = new_credentials(key_id)
        path = save_credentials(keys_dir, credentials)
    except FileExistsError as error:
        raise CommandError(f"there is a key `{key_id}` already") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"the root key cannot be read: {error}") from error
    form = {"account": ADMIN_ACCOUNT, "public_key": credentials.public_key, "scopes": ALL_SCOPES, "key_id": key_id}
    with signed_by(signer, "gateway") as gateway:
        key = result_of(gateway.post("/v1/keys", json=form))
    show(key | {"private_key_file": str(path)}, json=json)


def replay(until_offset: int | None = None, *, balances: bool = True, json: bool = False) -> int:
    """Replay the command log from its start in a fresh engine and compare every event's bytes with the event log.

    UNTIL_OFFSET stops before that record. Exit status 0 only where the logs agree.
    """
    from infra.ports import accepts
    from services.kit.kafka import operator_options
    from services.kit.logs import configure_logs
    from services.matching.replay import replay
    from services.matching.settings import MatchingSettings

    settings = MatchingSettings()
    kafka = kafka_address(settings.data, settings.kafka)
    user = operator_options(kafka, settings.keys_dir).get("sasl_plain_username", "")
    settings = settings.model_copy(update={"kafka": kafka, "kafka_user": user})
    configure_logs("replay", settings.log_level)
    if not accepts(settings.kafka):
        raise CommandError(f"Kafka does not answer at {settings.kafka}")
    done = asyncio.run(replay(settings, until_offset))
    summary = done.summary()
    if not json or not balances:
        summary.pop("balances")
    show(summary, json=json)
    return 0 if done.identical else 1


def kafka_address(data: Path, configured: str) -> str:
    """The broker of the exchange that runs in this data folder, else the configured one."""
    from infra import exchange

    return (exchange.addresses(data) or {}).get("kafka", configured)


def set_state(product: str | None, state: str, reason: str, json: bool, opens_after_s: int | None = None) -> None:
    from schemas.venue import SetProductState

    try:
        command = SetProductState(product=product, state=state, reason=reason, opens_after_s=opens_after_s)
    except ValueError as error:
        raise CommandError(str(error)) from error
    events = [event for event in send([command]) if event.type == "product_state_changed"]
    show([{"product": event.product, "state": event.state, "reason": event.reason} for event in events], json=json)


def send(commands: list[Any]) -> list[Any]:
    """Sends signed batches to the engine and returns its events."""
    from aiokafka.errors import KafkaError

    from infra.admin import AdminError, NotAnswered, send_commands
    from infra.settings import InfraSettings

    settings = InfraSettings()
    try:
        kafka = kafka_address(settings.data, settings.kafka)
        return asyncio.run(send_commands(kafka, settings.keys_dir, commands))
    except NotAnswered as error:
        raise OutcomeUnknown(str(error)) from error
    except (AdminError, KafkaError) as error:
        raise CommandError(str(error)) from error


def read_products(file: Path) -> list[Any]:
    from pydantic import TypeAdapter

    from schemas.venue import DefineProduct

    try:
        return TypeAdapter(list[DefineProduct]).validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}") from error


def add_to(app: App) -> None:
    admin = App(name="admin", help="Administer the venue; needs the keys in the data folder.")
    states = (halt, resume, cancel_only, auction, close)
    rules = (limit_account, cancel_orders, void, review, audit, driver_digest, set_ruleset)
    for command in (products, *states, *rules, rotate_key, recover, deposit, replay):
        admin.command(command)
    app.command(admin)
