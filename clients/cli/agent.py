"""Commands of an operator: `agent token|run|inspect`, which connect a node that sells its idle GPUs."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import show
from clients.cli.session import Signer, gateway
from clients.http import result_of

agent = App(name="agent", help="Connect a node that sells its idle GPUs.")
Config = Annotated[Path, Parameter(help="The agent's own TOML file; agents/node/README.md shows one.")]


@agent.command
def token(*, valid_s: int = 3600, signer: Signer | None = None, json: bool = False) -> None:
    """Issue a one-time token with which one node enrols for the account; the key needs the scope operate."""
    with gateway(signer) as client:
        show(result_of(client.post("/v1/enrolment-tokens", json={"valid_s": valid_s})), json=json)


@agent.command
def run(config: Config) -> int:
    """Run the node agent in the foreground until Ctrl-C."""
    return run_agent("--config", str(config))


@agent.command
def inspect(config: Config, *uuids: str) -> int:
    """Inspect GPUs of this node and deposit the signed report with the venue, as a hardware listing needs it."""
    return run_agent("--config", str(config), "--inspect", *uuids)


def run_agent(*arguments: str) -> int:
    """Run the agent's own program; Ctrl-C reaches it too, and it ends by itself."""
    process = subprocess.Popen([sys.executable, "-P", "-m", "agents.node", *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def add_to(app: App) -> None:
    app.command(agent)
