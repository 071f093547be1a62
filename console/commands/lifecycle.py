"""Commands that run the exchange: `up`, `down`, `status`, `logs`, `reset`."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show

LOOK_AGAIN_S = 0.5
NEXT = """the page: {page}
from another shell: hourbook products, keys create ACCOUNT, admin deposit ACCOUNT CNY 1000, order place --help"""


def up(
    *,
    period_s: Annotated[int, Parameter(help="Delivery period of a new exchange's products, in seconds.")] = 3_600,
    json: bool = False,
) -> None:
    """Start the exchange and stay until Ctrl-C; its data stays in the data folder. A new one is given its products."""
    from infra.database import NoRoles
    from infra.kafka_jars import WrongJar
    from infra.places import HalfRestored
    from infra.plan import NoAnswer
    from infra.ports import PortTaken
    from infra.postgres import NoPostgres
    from infra.processes import DidNotStart
    from infra.settings import InfraSettings
    from infra.supervisor import AlreadyUp, run

    settings = InfraSettings()

    def announce(addresses: dict[str, str], seconds: float) -> None:
        products = list_products_patiently(addresses, settings.keys_dir, period_s, settings.ready_within_s)
        if json:
            show({"addresses": addresses, "seconds": round(seconds, 3), "products": products}, json=True)
        else:
            show({f"  {name}": address for name, address in addresses.items()}, json=False)
            show(f"up after {seconds:.1f} s with {products} products; Ctrl-C stops it", json=False)
            show(NEXT.format(page=addresses.get("front") or addresses.get("terminal", "")), json=False)
        sys.stdout.flush()

    try:
        run(settings, announce, lambda line: print(line, file=sys.stderr, flush=True))
    except (AlreadyUp, DidNotStart, HalfRestored, NoAnswer, NoPostgres, NoRoles, PortTaken, WrongJar) as error:
        raise CommandError(error) from error


def list_products_patiently(addresses: dict[str, str], keys_dir: Path, period_s: int, within_s: float) -> int:
    """Like `list_products_once`, again and again while a service or server is on its way back."""
    import httpx
    from aiokafka.errors import KafkaError

    from clients.http import ApiError
    from infra.admin import AdminError

    deadline = time.monotonic() + within_s
    while True:
        try:
            return list_products_once(addresses, keys_dir, period_s)
        except (AdminError, KafkaError, OSError, ApiError, httpx.TransportError) as error:
            if time.monotonic() > deadline:
                raise CommandError(f"the products could not be listed: {error}") from error
            time.sleep(LOOK_AGAIN_S)


def list_products_once(addresses: dict[str, str], keys_dir: Path, period_s: int) -> int:
    """Defines the venue's products where the exchange has none; returns how many it has."""
    from clients.http import open_client, result_of
    from infra.reference.load import load_products
    from infra.reference.products import HOUR_S, Timing

    with open_client(addresses["market_data"]) as client:
        if known := result_of(client.get("/v1/products"))["items"]:
            return len(known)
    timing = Timing() if period_s == HOUR_S else Timing.sandbox(period_s)
    return len(load_products(addresses["kafka"], keys_dir, timing))


def down(*, json: bool = False) -> None:
    """Stop the exchange, or what is left of one that was killed."""
    from infra import exchange
    from infra.places import data_dir

    try:
        stopped = exchange.stop(data_dir())
    except exchange.DidNotStop as error:
        raise CommandError(error) from error
    show({"stopped": stopped} if json else ("stopped" if stopped else "nothing was running"), json=json)


def status(*, json: bool = False) -> int:
    """Show every program of the exchange; exit with 0 when it is up, else with 3."""
    from infra import exchange
    from infra.places import data_dir

    rows = exchange.describe(data_dir())
    is_up = exchange.addresses(data_dir()) is not None
    show({"up": is_up, "data": str(data_dir()), "programs": rows} if json else rows, json=json)
    return 0 if is_up else 3


def logs(service: str, *, lines: int = 50, follow: Annotated[bool, Parameter(alias="-f")] = False) -> int:
    """Print the end of one program's log; with --follow go on as it grows."""
    from infra.places import data_dir

    folder = data_dir() / "logs"
    path = folder / f"{service}.log"
    if not path.exists():
        known = ", ".join(sorted(log.stem for log in folder.glob("*.log"))) or "none yet"
        raise CommandError(f"no log of {service!r}; available: {known}")
    try:
        return subprocess.run(["tail", f"-n{lines}", *(["-f"] if follow else []), str(path)]).returncode
    except KeyboardInterrupt:
        return 0


def reset(*, yes: Annotated[bool, Parameter(help="Do not ask.")] = False) -> None:
    """Remove all data of the exchange: log, database, keys."""
    from infra import exchange
    from infra.places import data_dir
    from infra.supervisor import AlreadyUp

    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("reset removes all data; confirm with --yes")
        if input(f"Remove everything in {data_dir()}? [y/N] ").strip().lower() != "y":
            raise CommandError("nothing was removed")
    try:
        exchange.reset(data_dir())
    except AlreadyUp as error:
        raise CommandError(error) from error
    show(f"removed {data_dir()}", json=False)


def add_to(app: App) -> None:
    for command in (up, down, status, logs, reset):
        app.command(command)
