"""`python -m agents.node --config FILE` runs the agent of one node."""

import sys

# httpx brings a command line of its own, whose libraries (rich, pygments) take 6 MB that no agent needs.
sys.modules.setdefault("httpx._main", None)

from agents.node.app import main  # noqa: E402

sys.exit(main())
