"""Whether strangers may open accounts, and how many: each stays in the log for ever."""

from fastapi import Request

from services.gateway.settings import GatewaySettings
from services.kit.addresses import client_group
from services.kit.http import ProblemError
from services.kit.limits import Budget

HOUR_S = 3_600.0
CLOSED = "this venue opens accounts by its administrator alone"


class SignUps:
    """A budget for each address and one for all of them together."""

    def __init__(self, settings: GatewaySettings):
        self._is_open = settings.open_sign_up
        self._of_address = Budget("sign_ups", settings.sign_ups_per_hour / HOUR_S, HOUR_S)
        self._of_all = Budget("sign_ups_of_all", settings.sign_ups_per_hour_of_all / HOUR_S, HOUR_S)

    def admit(self, request: Request) -> None:
        """Take an attempt off the address's budget. Raises `sign_up_closed`, `too_many_requests`."""
        if not self._is_open:
            raise ProblemError("sign_up_closed", CLOSED)
        address = client_group(request.scope)
        self._of_address.require(address, "the address has opened as many accounts as it may for now")

    def count(self) -> None:
        """Take an account that is to be opened off the budget of all. Raises `too_many_requests`.

        What is refused before costs nobody else anything, or a few addresses could close the venue to newcomers.
        """
        self._of_all.require("", "the venue has opened as many accounts as it may for now")
