"""A renter's own meter in the long run: the real one, beside the agent, on GPUs that look as the renter says."""

import subprocess
import sys
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.actors import Actor
from clients.http import ApiError, result_of
from console.demo.sites import ONE_THREAD
from infra.fake_nvml.build import environment
from infra.fake_nvml.scenario import write_scenario
from infra.places import REPOSITORY
from infra.processes import Program, start
from tests.long_run.machine import Machine, done
from tests.long_run.truth import Moment


class RentersMeter:
    """Runs from its start to the lease's end. Where it denies, it sees machines of its own that are all well, until
    `deny` takes a GPU away; else it sees what the agent sees.
    """

    def __init__(self, machine: Machine, lease_id: str, buyer: Actor, denies: bool) -> None:
        self.lease_id, self._machine, self._buyer = lease_id, machine, buyer
        self._scenario: Path = machine.folder / (f"{lease_id}.scenario" if denies else "gpus.scenario")
        self._process: subprocess.Popen[bytes] | None = None
        self.is_stopped = False
        if denies:
            write_scenario(self._scenario, machine.healthy_scenario())

    def start(self) -> bool:
        """Registers a key and starts the meter; says whether it runs."""
        private = Ed25519PrivateKey.generate()
        form = {"public_key": private.public_key().public_bytes_raw().hex()}
        try:
            result_of(self._buyer.delivery.post(f"/v1/leases/{self.lease_id}/meter-key", json=form))
        except (ApiError, httpx.HTTPError):
            return False
        key = self._machine.folder / f"{self.lease_id}.key"
        key.write_text(private.private_bytes_raw().hex() + "\n")
        command = [sys.executable, "-m", "agents.node", "meter", "--lease", self.lease_id, "--key", str(key)]
        command += ["--url", self._buyer.addresses["delivery"]]
        log = self._machine.log.with_name(f"{self._machine.label}-meter.log")
        variables = ONE_THREAD | environment(self._machine.library, self._scenario)
        program = Program(self.lease_id, command, log, lambda: True, environment=variables, folder=REPOSITORY)
        self._process = start(program)
        return True

    def deny(self, gpu: int) -> Moment:
        """Makes the meter see a GPU no more, which the agent sees well. Raises AssertionError if it does not run."""
        if self._process.poll() is not None:
            raise AssertionError(f"the meter of {self.lease_id} ended with {self._process.returncode}")
        return done(lambda: write_scenario(self._scenario, self._machine.healthy_scenario() + f"gpu {gpu} lost 1\n"))

    @property
    def is_well(self) -> bool:
        """Says whether it runs, or has ended with its lease."""
        return self._process is not None and self._process.poll() in (None, 0)

    def stop(self) -> None:
        """Ends it."""
        self.is_stopped = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
