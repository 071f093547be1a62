"""The agent's errors, one tree: what the operator must mend, and what the venue or the network said."""


class AgentError(Exception):
    """Anything the agent cannot go on from by itself at this point."""


class BadConfiguration(AgentError):
    """The configuration or the policy file says something that cannot be followed."""


class StateInUse(AgentError):
    """Another agent works on the same state folder: two of them would sign two histories under one key."""


class NoGpus(AgentError):
    """NVML is missing or lists no GPU: there is nothing to sell."""


class ChainBroken(AgentError):
    """The venue knows a later report of this node than the node does: its state folder is not its own any more."""


class VenueUnreachable(AgentError):
    """The venue did not answer; what was asked may or may not have happened."""


class VenueRefused(AgentError):
    """The venue answered with a problem document."""

    def __init__(self, status: int, code: str, detail: str, members: dict | None = None) -> None:
        super().__init__(f"{code} ({status}): {detail}")
        self.status, self.code, self.detail, self.members = status, code, detail, members or {}
