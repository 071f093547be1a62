"""The renter's meter: runs inside a rented environment and reports its GPUs in a chain of its own, by a lease's key.

It reads GPUs with the same code as the operator's agent and knows nothing of the venue but its address. The key is made
by the buyer's own command line, which brings it in over his own ssh session.
"""

import logging
import time
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from agents.node.clock import mono_ms
from agents.node.config import address_of
from agents.node.enrol import AGENT_VERSION
from agents.node.errors import AgentError, BadConfiguration
from agents.node.files import read_text
from agents.node.identity import Identity, boot_id
from agents.node.inventory import Nvml, Telemetry
from agents.node.leases import LEASE_FORM
from agents.node.notices import Notices
from agents.node.processes import in_bounds
from agents.node.wire import open_http
from schemas.complaints import in_words
from schemas.nodes import Report
from schemas.renter import PlaceRequest, RenterPlace, renter_agent

RETRY_S = 2.0
TIMEOUT_S = 10.0
log = logging.getLogger("hourbook.meter")


class RenterMeter:
    """One lease's meter. `step` makes and sends one report; what could not be sent is sent again as it was."""

    def __init__(self, lease_id: str, identity: Identity, telemetry: Telemetry, client: httpx.Client) -> None:
        self.lease_id, self._identity, self._telemetry, self._client = lease_id, identity, telemetry, client
        self._boot_id, self._window_start_ms = boot_id(), mono_ms()
        self._place: RenterPlace | None = None
        self._unsent: Report | None = None

    def step(self) -> RenterPlace:
        """Sends the next report; returns where the chain stands. Raises httpx.HTTPError for what may pass."""
        if self._place is None:
            self._place = self._ask_place()
        if self._unsent is None:
            self._unsent = self._make_report(self._place)
        answer = self._send("reports", self._unsent.canonical())
        if answer.status_code == httpx.codes.CONFLICT:
            # The nonce was too old, or the venue has the report: the chain goes on where the venue says.
            self._unsent, self._place = None, self._ask_place()
            return self._place
        answer.raise_for_status()
        self._window_start_ms, self._unsent = self._unsent.mono_end_ms, None
        self._place = RenterPlace.model_validate_json(answer.content)
        return self._place

    def _ask_place(self) -> RenterPlace:
        request = self._identity.sign(PlaceRequest, agent=renter_agent(self.lease_id))
        answer = self._send("place", request.canonical())
        answer.raise_for_status()
        return RenterPlace.model_validate_json(answer.content)

    def _send(self, what: str, body: bytes) -> httpx.Response:
        path = f"/v1/leases/{self.lease_id}/{what}"
        return self._client.post(path, content=body, headers={"Content-Type": "application/json"})

    def _make_report(self, place: RenterPlace) -> Report:
        gpus, driver = in_bounds(self._telemetry.read()), self._telemetry.driver
        return self._identity.sign(
            Report,
            agent=place.agent,
            boot_id=self._boot_id,
            seq=place.seq + 1,
            prev_hash=place.hash,
            server_nonce=place.next_nonce,
            mono_start_ms=self._window_start_ms,
            mono_end_ms=mono_ms(),
            wall_ms=time.time_ns() // 1_000_000,
            queued=False,
            lease_ids=(self.lease_id,),
            agent_version=AGENT_VERSION,
            driver_version=driver.version,
            kernel_driver_version=driver.kernel_version,
            library_sha256=driver.library_sha256,
            nvml_simulated=driver.simulated,
            gpus=gpus,
        )


def run(lease_id: str, key_file: Path, url: str, steps: int | None = None) -> int:
    """Meters until the lease ends (or for some steps); returns the exit status. What keeps it from that is one line."""
    try:
        return _meter(lease_id, key_file, url, steps)
    except AgentError as error:
        log.error("%s", error)
        return 1


def renter_identity(lease_id: str, key_file: Path, url: str) -> Identity:
    """Returns the identity of a meter key, where lease and address have their form. Raises BadConfiguration."""
    if not LEASE_FORM.fullmatch(lease_id):
        raise BadConfiguration(f"--lease: {lease_id!r} is not a lease's id")
    try:
        address_of(url)
    except ValueError as error:
        raise BadConfiguration(f"--url: {url!r} {error}") from error
    try:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(read_text(key_file, "key").strip()))
    except (BadConfiguration, ValueError) as error:
        raise BadConfiguration(f"{key_file} is not the private half of a meter key: {error}") from error
    return Identity(key)


def _meter(lease_id: str, key_file: Path, url: str, steps: int | None) -> int:
    identity, telemetry = renter_identity(lease_id, key_file, url), Nvml()
    try:
        with open_http(httpx.Client, base_url=url, timeout=TIMEOUT_S) as client:
            return _follow(RenterMeter(lease_id, identity, telemetry, client), steps)
    finally:
        telemetry.close()


def _follow(meter: RenterMeter, steps: int | None) -> int:
    notices = Notices()
    while steps is None or steps > 0:
        steps = None if steps is None else steps - 1
        try:
            place = meter.step()
        except httpx.HTTPStatusError as error:
            if error.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                log.error("the venue refused: %s", error.response.text[:300])
                return 1
            notices.say("venue", f"the venue is unavailable: {error}")
            time.sleep(RETRY_S)
            continue
        except (httpx.HTTPError, ValidationError) as error:
            words = in_words(error.errors()) if isinstance(error, ValidationError) else error
            notices.say("venue", f"the venue does not answer: {words}")
            time.sleep(RETRY_S)
            continue
        notices.clear("venue", "the venue answers again")
        if place.server_time_ms >= place.ends_ms:
            return 0
        time.sleep(place.report_interval_ms / 1000)
    return 0
