"""Operators' sites: live node agents, each a process over NVML, and the real offers played by one process."""

import json
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pynvml

from clients.actors import Actor, Registry
from clients.http import result_of
from clients.toml_text import toml_of
from console.demo.hook import TENANTS_VARIABLE
from console.demo.story import DemoFailed
from infra.fake_nvml.build import build_library, environment
from infra.fake_nvml.scenario import H100_SXM, GpuModel, scenario_text, write_scenario
from infra.places import REPOSITORY
from infra.processes import Program, start, stop
from infra.reference.offers import Site, load_offers
from schemas.money import format_micros

IDLE_FOR_MS = 1_000
STOP_WITHIN_S = 15
CLOSE_WITHIN_S = 120
BOND_DEPOSIT = "1000000.00"
# Every agent here shares the machine with the whole exchange; threads of linear algebra would only wait for each other.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class AgentSite:
    """One live agent: its operator, its folder, and the scenario of its GPUs where NVML is the stand-in."""

    label: str
    operator: Actor
    folder: Path
    program: Program
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def scenario(self) -> Path:
        """The file that scripts the stand-in NVML."""
        return self.folder / "gpus.scenario"

    @property
    def node_id(self) -> str | None:
        """The node's id once it is enrolled."""
        path = self.folder / "state" / "node.json"
        return json.loads(path.read_text())["node_id"] if path.exists() else None


def own_gpus() -> tuple[str, ...]:
    """Returns the names of the GPUs that this machine really has, as its driver gives them."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
    return tuple(map(pynvml.nvmlDeviceGetName, handles))


class Sites:
    """Starts and stops the demo's agents; everything they keep lies under `folder`."""

    def __init__(self, registry: Registry, folder: Path, logs: Path):
        self._registry, self._folder, self._logs = registry, folder, logs
        self._library = build_library(folder / "nvml")
        self._running: list[tuple[Program, subprocess.Popen[bytes]]] = []
        self._agents: dict[str, AgentSite] = {}

    def start_agent(
        self, operator: Actor, label: str, policy: dict, gpus: int, model: GpuModel = H100_SXM
    ) -> AgentSite:
        """Starts one live agent over `gpus` scripted GPUs, with a policy, an enrolment token and hooks of its own."""
        folder = self._prepare(operator, label, policy)
        write_scenario(folder / "gpus.scenario", scenario_text(label, model, gpus))
        return self._run(operator, label, folder, environment(self._library, folder / "gpus.scenario"))

    def start_own_agent(self, operator: Actor, label: str, policy: dict) -> AgentSite:
        """Starts one live agent over this machine's own GPUs; a buyer's process works on them while leased."""
        folder = self._prepare(operator, label, policy)
        return self._run(operator, label, folder, {TENANTS_VARIABLE: str(folder)})

    def _prepare(self, operator: Actor, label: str, policy: dict) -> Path:
        folder = self._folder / label
        folder.mkdir(parents=True, exist_ok=True)
        policy = {"label": label, "idle": {"for_ms": IDLE_FOR_MS}, "hooks": lease_hooks()} | policy
        (folder / "policy.toml").write_text(toml_of(policy))
        config = {
            "state_dir": "state",
            "policy": "policy.toml",
            "api_key": operator.credentials.key_id,
            "api_key_file": str(operator.key_file),
            "token": enrolment_token(operator),
            "venue": venue_addresses(operator),
        }
        (folder / "agent.toml").write_text(toml_of(config))
        return folder

    def _run(self, operator: Actor, label: str, folder: Path, variables: dict[str, str]) -> AgentSite:
        command = [sys.executable, "-m", "agents.node", "--config", str(folder / "agent.toml")]
        site = AgentSite(label, operator, folder, self._program(f"agent-{label}", command, variables))
        site.process = self._start(site.program)
        self._agents[label] = site
        return site

    def cut(self, site: AgentSite) -> None:
        """Ends a site's agent as a power cut would."""
        site.process.kill()
        site.process.wait()
        self._running.remove((site.program, site.process))

    def start_again(self, site: AgentSite) -> None:
        """Starts the agent of a site that was cut."""
        site.process = self._start(site.program)

    def restart(self, site: AgentSite) -> None:
        """Ends a site's agent as a power cut would, and starts it again."""
        self.cut(site)
        self.start_again(site)

    def end(self, site: AgentSite) -> None:
        """Ends a site for good, as its operator would: its agent takes the capacity out of the books, buyers leave."""
        stop(site.program, site.process)
        self._running.remove((site.program, site.process))
        self._let_buyers_out(site)

    def pids(self) -> list[int]:
        """Returns the processes of the agents that run."""
        return [process.pid for _, process in self._running]

    def inspect(self, site: AgentSite, *uuids: str) -> str:
        """Lets a site's agent inspect these of its GPUs, all if none is named; returns the inspection's id."""
        nonce = result_of(site.operator.delivery.post("/v1/inspections/nonces", json={}))["nonce"]
        command = [*site.program.command, "--nonce", nonce, "--inspect", *uuids]
        variables = os.environ | site.program.environment
        done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True)
        if done.returncode:
            raise DemoFailed(f"the inspection of {site.label} failed: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)["inspection_id"]

    def start_fleet(self, periods_ahead: int, chosen: list[Site] | None = None) -> list[Site]:
        """Plays real offers, all that have a hub or those chosen, as sites of their providers; returns the sites."""
        offers = load_offers()[0] if chosen is None else chosen
        operators = {
            provider: self._registry.open_account(provider, "operate", USD=BOND_DEPOSIT)
            for provider in sorted({site.name.rpartition("-")[0] for site in offers})
        }
        sites = [self._played(site, operators[site.name.rpartition("-")[0]], periods_ahead) for site in offers]
        fleet = {
            "venue": venue_addresses(next(iter(operators.values()))),
            "state_dir": str(self._folder / "fleet"),
            "sites": sites,
        }
        path = self._folder / "fleet.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fleet, indent=1))
        self._start(self._program("fleet", [sys.executable, "-m", "agents.node.fleet", "--config", str(path)], {}))
        return offers

    def set_price(self, label: str, floor_micros: int) -> None:
        """Writes another floor into the policy file of a site, as its operator would; its agent sees it."""
        path = self._policy_file(label)
        policy = tomllib.loads(path.read_text()) | {"price": {"floor": format_micros(floor_micros)}}
        unfinished = path.with_suffix(".new")
        unfinished.write_text(toml_of(policy))
        unfinished.replace(path)

    def stop(self) -> None:
        """Stops every agent; all are told, once, before the first is waited for. Then every buyer is let out."""
        for program, process in self._running:
            if process.poll() is None:
                process.send_signal(program.stop_signal)
        deadline = time.monotonic() + STOP_WITHIN_S
        for _, process in self._running:
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for site in self._agents.values():
            self._let_buyers_out(site)

    def _let_buyers_out(self, site: AgentSite) -> None:
        """Runs the stop hooks of a site's open leases: an agent that ends leaves its buyers in."""
        if site.node_id is None or not (site.folder / "state" / "leases.json").exists():
            return
        command = [sys.executable, "-m", "agents.node", "close-leases", str(site.folder / "agent.toml")]
        with site.program.log.open("ab") as log:
            variables = os.environ | site.program.environment
            subprocess.run(command, cwd=REPOSITORY, env=variables, stdout=log, stderr=log, timeout=CLOSE_WITHIN_S)

    def _policy_file(self, label: str) -> Path:
        return self._folder / label / "policy.toml"

    def _played(self, site: Site, operator: Actor, periods_ahead: int) -> dict:
        policy = {
            "label": site.name,
            "hub": site.hub,
            "grade": site.node_grade,
            "whole_node": site.node_grade != site.grade,
            "periods_ahead": periods_ahead,
            "idle": {"for_ms": 0},
            "price": {"floor": format_micros(site.ask_micros)},
            "hooks": lease_hooks(),
        }
        path = self._policy_file(site.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(toml_of(policy))
        return {
            "policy": policy,
            "policy_file": str(path),
            "api_key": operator.credentials.key_id,
            "api_key_file": str(operator.key_file),
            "token": enrolment_token(operator),
            "chip_grade": site.grade,
            "gpu_name": site.gpu_name,
            "memory_mib": site.memory_mib,
            "gpus": site.gpus,
        }

    def _program(self, name: str, command: list[str], variables: dict[str, str]) -> Program:
        return Program(
            name=name,
            command=command,
            log=self._logs / f"{name}.log",
            ready=lambda: True,
            environment=ONE_THREAD | variables,
            folder=REPOSITORY,
            dies_with_parent=True,
        )

    def _start(self, program: Program) -> subprocess.Popen[bytes]:
        process = start(program)
        self._running.append((program, process))
        return process


def lease_hooks() -> dict[str, list[str]]:
    """Returns the commands that an agent runs at the start and the end of a lease."""
    hook = str(Path(__file__).with_name("hook.py"))
    return {action: [sys.executable, hook, action] for action in ("start", "stop")}


def enrolment_token(operator: Actor) -> str:
    """Gets a one-time token for one node of the operator."""
    return json.dumps(result_of(operator.gateway.post("/v1/enrolment-tokens", json={})))


def venue_addresses(actor: Actor) -> dict[str, str]:
    """Names the services that an agent talks to."""
    return {f"{name}_url": actor.addresses[name] for name in ("gateway", "delivery", "market_data")}
