"""Plugs the service together: settings → HTTP."""

import asyncio

from services.kit.auth import refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.logs import configure_logs
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.terminal.api import add_routes
from services.terminal.settings import Settings

NAME = "terminal"


def main() -> None:
    """Run the service until it is told to stop."""
    settings = Settings()
    configure_logs(NAME, settings.log_level)

    async def start(tasks: asyncio.TaskGroup) -> None:
        app = make_app(NAME, Readiness(servers=Servers(settings, named_only=True)), settings.body_limits)
        add_routes(app, settings)
        refuse_undeclared_routes(app)
        tasks.create_task(serve(app, settings, settings.terminal_port))

    run_service(start)
