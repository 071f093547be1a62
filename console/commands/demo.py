"""The command `demo`: the main job on an exchange of its own, from nothing to settled trades."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show


def demo(
    *,
    period_s: Annotated[int, Parameter(help="Delivery period of the sandbox, in seconds (20 to 60 is sensible).")] = 20,
    keep: Annotated[bool, Parameter(help="Keep the data folder, and say where it is.")] = False,
    json: bool = False,
) -> int:
    """Run the whole exchange for real: agents, orders, delivery, settlement, a hardware sale, and the checks."""
    from clients.http import ApiError
    from console.demo.script import Demo
    from console.demo.story import DemoFailed, Story
    from infra.exchange import free_ports, running
    from infra.processes import DidNotStart
    from infra.reference.products import Timing

    if period_s < 10:
        raise CommandError("periods under 10 s leave no time between gate and delivery")
    work = Path(tempfile.mkdtemp(prefix="hourbook-demo-"))
    work.chmod(0o755)  # as root, PostgreSQL runs as another user, who must reach its data
    story = Story(to_stderr=json)
    timing = Timing.sandbox(period_s)
    environment = free_ports()
    try:
        with ExitStack() as stack:
            with story.chapter("start", "Starting Kafka, PostgreSQL and the services"):
                exchange = stack.enter_context(running(work / "data", **environment))
                story.lines(*(f"{name:<12} {address}" for name, address in exchange.addresses.items()))
            play = Demo(exchange, work, timing, story)
            play.run()
    except (DemoFailed, DidNotStart, ApiError) as failure:
        print(f"hourbook demo: {failure}\nlogs: {work / 'data' / 'logs'}", file=sys.stderr)
        return 1
    if json:
        show(play.summary, json=True)
    if keep:
        print(f"kept: {work}", file=sys.stderr)
    else:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def add_to(app: App) -> None:
    app.command(demo)
