"""Keeps httpx's own command line out of the agent, first of all imports: it brings rich and pygments, 5 MB a node."""

import sys

sys.modules.setdefault("httpx._main", None)  # httpx goes on without it, as where rich is not installed
