"""Versions of the agent, which stand for the protocol that it speaks; the venue's replies name the oldest it takes."""

import re

NUMBER = re.compile(r"\d+(?:\.\d+)+")


def parse_version(text: str) -> tuple[int, ...] | None:
    """Returns the first version number in a text (`hourbook-agent 0.1.0`), None where there is none."""
    found = NUMBER.search(text)
    return tuple(map(int, found.group().split("."))) if found else None


def is_older(agent: str, oldest: str) -> bool:
    """Says whether an agent's version is below the oldest that the venue takes; one without a number is not."""
    version, bound = parse_version(agent), parse_version(oldest)
    return version is not None and bound is not None and version < bound
