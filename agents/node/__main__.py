"""`python -m agents.node --config FILE` runs the agent of one node."""

import sys

from agents.node.app import main

sys.exit(main())
