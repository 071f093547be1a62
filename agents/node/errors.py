"""The agent's errors, one tree: what the operator must mend, and what the venue or the network said."""


class AgentError(Exception):
    """Anything the agent cannot go on from by itself at this point."""


class BadConfiguration(AgentError):
    """The configuration or the policy file says something that cannot be followed; `problems` are lines on each."""

    def __init__(self, words: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.problems = problems or (words,)


class BadState(AgentError):
    """The state folder cannot be used as it is; the words name the file and what to do."""


class StateInUse(AgentError):
    """Another agent works on the same state folder: two of them would sign two histories under one key."""


class NoGpus(AgentError):
    """NVML is missing or lists no GPU: there is nothing to sell."""


class ProofFailed(AgentError):
    """A backend cannot run a chain: no such GPU, too little memory, a driver or device that fails."""


class VenueUnreachable(AgentError):
    """The venue did not answer; what was asked may or may not have happened."""


class BadAnswer(VenueUnreachable):
    """Something answered in the venue's place, or the venue answered what nobody can read."""


class VenueRefused(AgentError):
    """The venue answered with a problem document; `wait_s` is how long it asks to be left alone, where it says so."""

    def __init__(
        self, status: int, code: str, detail: str, members: dict | None = None, wait_s: float | None = None
    ) -> None:
        super().__init__(f"{code} ({status}): {detail}")
        self.status, self.code, self.detail, self.members = status, code, detail, members or {}
        self.wait_s = wait_s
