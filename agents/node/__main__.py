"""`python -m agents.node COMMAND AGENT.TOML` is the program `hourbook-agent`."""

import sys

# httpx brings a command line of its own, whose libraries (rich, pygments) take 6 MB that no agent needs.
sys.modules.setdefault("httpx._main", None)

from agents.node.cli import main  # noqa: E402

sys.exit(main())
