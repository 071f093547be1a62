"""The command `play`: an exchange with played sites and traders, a market that lives until Ctrl-C."""

import logging
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show

NEXT = """the page: {page}/#{product}
a newcomer, from another shell: {join}
Ctrl-C ends the play and the exchange; the data stays in {data}"""
JOIN = "hourbook join NAME     (an account with money and a key of its own)"
JOIN_BY_SSH = "hourbook join NAME --product {product}     (an account with money; ssh lets him in there)"


def play(
    *,
    seed: Annotated[int, Parameter(help="Decides values, orders and accidents.")] = 1,
    period_s: Annotated[int, Parameter(help="Delivery period of a new exchange's products, in seconds.")] = 60,
    sites: Annotated[int, Parameter(help="Number of sites to play.")] = 31,
) -> int:
    """Start the exchange with some thirty played sites and a dozen traders, and stay until Ctrl-C.

    Sites, prices, orders and accidents are played by the seed; the exchange, its agents' code, its books, its meter and
    its bills are the real ones, and every order goes through the public APIs with a key of its own.
    """
    from console.play.stage import Stage
    from infra.exchange import running, supervisor_of
    from infra.places import data_dir
    from infra.processes import DidNotStart

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("hourbook.play").setLevel(logging.ERROR)  # a busy exchange is the traders' daily bread
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    data, began = data_dir(), time.monotonic()
    if supervisor_of(data) is not None:
        raise CommandError(
            f"an exchange runs in {data} already: `hourbook down` stops it, HOURBOOK_DATA names another folder"
        )

    def say(text: str) -> None:
        print(text, flush=True)

    def ready(product: str, missing: list[str], ssh_product: str | None) -> None:
        lacking = f", still without {', '.join(missing)}" if missing else ""
        say(f"ready after {time.monotonic() - began:.0f} s{lacking}")
        join = JOIN_BY_SSH.format(product=ssh_product) if ssh_product else JOIN
        page = exchange.addresses.get("front") or exchange.addresses["terminal"]
        say(NEXT.format(page=page, product=product, data=data, join=join))

    try:
        with running(data) as exchange:
            show({f"  {name}": address for name, address in exchange.addresses.items()}, json=False)
            check_periods(exchange.addresses, data / "keys", period_s)
            Stage(exchange.addresses, data, seed, sites, say).play(ready)
    except DidNotStart as error:
        raise CommandError(error) from error
    except KeyboardInterrupt:
        pass  # during the set-up: what was started is stopped by now
    say("stopped")
    return 0


def check_periods(addresses: dict[str, str], keys_dir: Path, period_s: int) -> None:
    """Lists the products of a new exchange; refuses one whose periods are others than those asked for."""
    from clients.http import open_client, result_of
    from console.commands.lifecycle import list_products_once

    list_products_once(addresses, keys_dir, period_s)
    with open_client(addresses["market_data"]) as client:
        periods = {row["period_s"] for row in result_of(client.get("/v1/products"))["items"]}
    if periods != {period_s}:
        known = ", ".join(f"{period} s" for period in sorted(periods))
        raise CommandError(
            f"the products in this data folder have periods of {known}: --period-s, or another HOURBOOK_DATA"
        )


def add_to(app: App) -> None:
    app.command(play)
