"""`python -m agents.node COMMAND AGENT.TOML` is the program `hourbook-agent`."""

import sys

from agents.node.cli import main

sys.exit(main())
