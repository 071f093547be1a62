"""The `hourbook` command line: gathers the groups of commands and runs the one that was asked for.

To add a group: write `clients/cli/<group>.py` (what anybody does over HTTP) or `console/commands/<group>.py` (what
needs the exchange's own machine) with `def add_to(app: App) -> None`, in which `app.command(function)` registers the
group's commands (or `app.command(App(name="order"))` a group of their own), and name it in GROUPS below. Heavy
imports (anything of the extra `venue`: Kafka, PostgreSQL, FastAPI) go inside the functions, so that `hourbook --help`
answers at once and the base install without `venue` works.
Print with `clients.cli.output.show(data, json=json)`; every command takes `*, json: bool = False`.
Fail with `raise clients.cli.output.CommandError("one clear line")`: it is printed to stderr, the exit status is 1. A
command whose request may have been carried out without an answer returns what `clients.cli.output.show_reply` returns.
"""

import importlib
import logging
import sys

from cyclopts import App, Parameter

from clients.cli.numbers import read_strictly
from clients.cli.output import CommandError

GROUPS = (
    "console.commands.lifecycle",
    "console.commands.backups",
    "console.commands.demo",
    "console.commands.play",
    "clients.cli.join",
    "clients.cli.orders",
    "clients.cli.book",
    "clients.cli.accounts",
    "console.commands.vouchers",
    "clients.cli.bills",
    "clients.cli.receipt",
    "clients.cli.dispute",
    "clients.cli.meter",
    "clients.cli.shopper",
    "clients.cli.listings",
    "clients.cli.sale",
    "clients.cli.ssh",
    "console.commands.agent",
    "clients.cli.node",
    "clients.cli.fleet",
    "console.commands.tests",
    "console.commands.bench",
    "console.commands.about",
    "console.commands.engine",
    "console.commands.dependencies",
    "console.commands.admin",
    "clients.cli.market",
)


HELP = """\
Hourbook, an exchange for GPU-hours.

Exit status: 0 done; 1 refused, or failed; 2 the command line is wrong; 75 nobody knows whether it was carried out (ask,
or say the same again under the same id). `ssh` has some of its own.
"""


def build_app() -> App:
    """The command line with every group registered."""
    numbers = Parameter(converter=read_strictly)
    app = App(name="hourbook", help=HELP, version_flags=[], default_parameter=numbers)
    for group in GROUPS:
        importlib.import_module(group).add_to(app)
    return app


def main() -> None:
    """Run the command line with the process's arguments."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # where Kafka does not answer, commands say so themselves
    try:
        status = build_app()()
    except CommandError as refusal:
        print(f"hourbook: {refusal}", file=sys.stderr)
        sys.exit(refusal.status)
    sys.exit(status if isinstance(status, int) else 0)
