"""Commands of an operator: `agent …`: they connect a node that sells its idle GPUs, and hand over to its program."""

import json as json_codec
import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, address_of, columns, gateway, public
from clients.http import key_file, result_of
from infra.places import cache_dir, data_dir
from schemas.disputes import DisputeReason

agent = App(name="agent", help="Connect a node that sells its idle GPUs.")
Config = Annotated[Path, Parameter(help="The agent's own TOML file; agents/node/README.md shows one.")]

Simulated = Annotated[int, Parameter(help="Number of H100s to read from the stand-in NVML (sandbox only).")]
NODE_COLUMNS = columns("node", "account", "grade", "hub", "level", "state", "reason", "simulated")
CONFIG = """\
state_dir = "state"
policy = "policy.toml"
api_key = "{key}"
api_key_file = {key_file}
token = {token}

[venue]
{venue}
"""
POLICY = """\
label = "{label}"
hub = "{hub}"
tier = "F"
whole_node = {whole_node}
periods_ahead = {periods_ahead}
reserve_gpus = 0
idle = {{ utilisation_below_percent = 5, for_ms = 60000 }}
price = {{ floor = "{floor}" }}
{note}hooks = {hooks}
"""
SHELL_HOOK = '{{ kind = "shell", listen = {address}{network} }}'
CONTAINER_HOOK = '{{ kind = "container", image = {image}, listen = {address} }}'
IMAGE = "pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime"
NOT_READY = "# Nothing is offered until this is fixed (`hourbook agent check` says the same): {problem}\n"


@agent.command
def init(
    folder: Path,
    *,
    hub: str,
    floor: str,
    label: str | None = None,
    whole_node: Annotated[bool, Parameter(help="Sell the eight GPUs of the node together, as a grade …X8.")] = False,
    periods_ahead: int = 48,
    address: Annotated[str, Parameter(help="Address of this machine where buyers log in by SSH.")] = "127.0.0.1",
    image: Annotated[str, Parameter(help="Image of a lease's container, for the hook `container`.")] = IMAGE,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Write agent.toml and policy.toml into FOLDER, with a fresh token; edit the policy as you like.

    Leases are opened by the ready hook `shell` where bubblewrap works here, by `container` where an engine answers.
    With neither the policy names `shell`, and nothing is offered before it has what it needs: "lacking" says what.
    The key needs the scopes read and operate.
    """
    signer = signer or Signer()
    if (folder / "agent.toml").exists():
        raise CommandError(f"{folder / 'agent.toml'} already exists")
    with gateway(signer) as client:
        issued = result_of(client.post("/v1/enrolment-tokens", json={}))
    folder.mkdir(parents=True, exist_ok=True)
    venue = "\n".join(f'{name}_url = "{address_of(name)}"' for name in ("gateway", "delivery", "market_data"))
    secret = key_file(data_dir() / "keys", signer.key)
    quoted = {"key_file": json_codec.dumps(str(secret)), "token": json_codec.dumps(json_codec.dumps(issued))}
    config, policy = (folder.resolve() / name for name in ("agent.toml", "policy.toml"))
    label = label or folder.resolve().name
    hooks, lacking = choose_hook(address, image, address_of("delivery"))
    config.write_text(CONFIG.format(key=signer.key, venue=venue, **quoted))
    config.chmod(0o600)
    terms = {"hub": hub, "floor": floor, "periods_ahead": periods_ahead, "whole_node": str(whole_node).lower()}
    note = NOT_READY.format(problem=lacking) if lacking else ""
    policy.write_text(POLICY.format(label=label, hooks=hooks, note=note, **terms))
    written = {"config": str(config), "policy": str(policy), "hooks": hooks} | ({"lacking": lacking} if lacking else {})
    show(written | {"next": f"hourbook agent run {config}"}, json=json)


def choose_hook(address: str, image: str, venue: str) -> tuple[str, str]:
    """Return the policy's hook table for this machine, and in one line what it still lacks, "" for nothing.

    A venue on this machine's loopback is for trying out: there a lease shares the machine's network, so that the
    buyer's own meter reaches it.
    """
    from agents.node.hooks.readiness import problem_of
    from agents.node.policy import HookRule

    quoted = {"address": json_codec.dumps(address), "image": json_codec.dumps(image)}
    network = ', network = "machine"' if urlsplit(venue).hostname in ("127.0.0.1", "localhost", "::1") else ""
    shell = SHELL_HOOK.format(network=network, **quoted), problem_of(HookRule(kind="shell", listen=address))
    container = CONTAINER_HOOK.format(**quoted), problem_of(HookRule(kind="container", image=image, listen=address))
    has_engine = not container[1] or container[1].startswith("the image ")
    return container if shell[1] and has_engine else shell


@agent.command
def nodes(*, account: str | None = None, json: bool = False) -> None:
    """List the nodes of the venue, or of ACCOUNT: their grade, level and state."""
    found: list[dict[str, Any]] = []
    with public("delivery", None) as client:
        params: dict[str, str] = {}
        while True:
            page = result_of(client.get("/v1/nodes", params=params))
            found += page["items"]
            if page["cursor"] is None:
                break
            params["cursor"] = page["cursor"]
    found = [node for node in found if account in (None, node["account"])]
    show(found if json else list(map(NODE_COLUMNS, found)), json=json)


@agent.command
def token(
    *,
    valid_s: int = 3600,
    nodes: Annotated[int, Parameter(help="Number of nodes that the token admits.")] = 1,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Issue a token with which nodes, one by default, enroll for the account; the key needs the scope operate."""
    with gateway(signer) as client:
        show(result_of(client.post("/v1/enrolment-tokens", json={"valid_s": valid_s, "nodes": nodes})), json=json)


TOKEN_COLUMNS = columns("token_id", "expires", "nodes", "node_keys", "revoked")


@agent.command
def tokens(*, signer: Signer | None = None, json: bool = False) -> None:
    """List the account's enrolment tokens, with the keys that nodes got by them."""
    with gateway(signer) as client:
        found = result_of(client.get("/v1/enrolment-tokens"))["items"]
    show(found if json else list(map(TOKEN_COLUMNS, found)), json=json)


@agent.command
def revoke_token(
    token_id: str,
    *,
    keys: Annotated[bool, Parameter(help="Also revoke the keys that nodes obtained with it.")] = False,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Revoke an enrolment token, as when it leaked: it admits no node any more."""
    with gateway(signer) as client:
        # In the query, not in a header, because the signature covers the query.
        params = {"revoke_keys": "true"} if keys else {}
        show(result_of(client.delete(f"/v1/enrolment-tokens/{token_id}", params=params)), json=json)


@agent.command
def run(
    config: Config,
    *,
    simulated: Simulated = 0,
) -> None:
    """Run the node agent in the foreground until Ctrl-C, SIGTERM or SIGHUP."""
    run_agent("run", str(config), environment=stand_in(config.parent, simulated) if simulated else {})


@agent.command
def inspect(config: Config, *uuids: str, simulated: Simulated = 0) -> None:
    """Inspect GPUs of this node and deposit the signed report with the venue, as a hardware listing needs it."""
    environment = stand_in(config.parent, simulated) if simulated else {}
    run_agent("inspect", str(config), *uuids, environment=environment)


@agent.command
def check(config: Config, simulated: Simulated = 0) -> None:
    """Say what keeps the node from working or selling, one line each: configuration, policy, hooks, key, GPUs."""
    run_agent("check", str(config), environment=stand_in(config.parent, simulated) if simulated else {})


@agent.command
def status(
    config: Config,
    *,
    watch: Annotated[float | None, Parameter(help="Repeat every this many seconds.")] = None,
    json: bool = False,
) -> None:
    """Say of each GPU whether it is offered and why not, what is posted, sold and delivered, and what it has earned."""
    run_agent("status", str(config), *(["--watch", str(watch)] if watch else []), *(["--json"] if json else []))


@agent.command
def drain(config: Config, *, undo: bool = False, wait: bool = True) -> None:
    """Offer nothing new, wait until what is sold is delivered, then end the agent; --undo offers again."""
    run_agent("drain", str(config), *(["--undo"] if undo else []), *([] if wait else ["--no-wait"]))


@agent.command
def move(config: Config, *, into: Path, release_to: str | None = None, abandon_sold: bool = False) -> None:
    """Retire the node here, and write into a folder what its start on another machine needs."""
    options = [*(["--release-to", release_to] if release_to else []), *(["--abandon-sold"] if abandon_sold else [])]
    run_agent("move", str(config), "--into", str(into), *options)


@agent.command
def gpus(config: Config, *, update: bool = False, simulated: Simulated = 0) -> None:
    """List the machine's GPUs beside those enrolled; --update tells the venue of what came and went."""
    environment = stand_in(config.parent, simulated) if simulated else {}
    run_agent("gpus", str(config), *(["--update"] if update else []), environment=environment)


@agent.command
def retire(config: Config, *, release_to: str | None = None) -> None:
    """End the node for good: its GPUs may be enrolled again, by your account or the one named."""
    run_agent("retire", str(config), *(["--release-to", release_to] if release_to else []))


@agent.command
def dispute(
    config: Config, position_id: int, *, claim: DisputeReason, evidence: str = "", evidence_file: Path | None = None
) -> None:
    """Dispute a settled position of the node, signed by the node's key."""
    said = ["--evidence-file", str(evidence_file)] if evidence_file else [f"--evidence={evidence}"]
    run_agent("dispute", str(config), str(position_id), "--claim", claim, *said)


@agent.command
def doctor(
    config: Annotated[
        Path | None, Parameter(help="The agent's TOML file; without it, only the hardware is examined.")
    ] = None,
    *,
    all: Annotated[bool, Parameter(help="Also print a line for each NVML call that succeeds.")] = False,
    strict: Annotated[bool, Parameter(help="Exit with status 1 for warnings too.")] = False,
    json: bool = False,
) -> None:
    """Try all that selling needs (driver, GPUs, hooks, disk, clock, venue), and say of each what is to be mended."""
    flags = [flag for flag, is_set in (("--all", all), ("--strict", strict), ("--json", json)) if is_set]
    run_agent("doctor", *([str(config)] if config else []), *flags)


@agent.command
def recall(
    config: Config,
    position_id: int,
    *,
    gpu: tuple[str, ...] = (),
    at: Annotated[str | None, Parameter("--from")] = None,
) -> None:
    """Take GPUs of an interruptible position of the node back, signed by the node's key; all, where none is named."""
    named = [word for uuid in gpu for word in ("--gpu", uuid)]
    run_agent("recall", str(config), str(position_id), *named, *(["--from", at] if at else []))


@agent.command
def maintenance(config: Config, start: str, end: str) -> None:
    """Declare maintenance of the node from START to END (2026-11-22T13:00Z), signed by the node's key."""
    run_agent("maintenance", str(config), start, end)


def stand_in(folder: Path, gpus: int) -> dict[str, str]:
    """Builds the stand-in library and scripts its GPUs; returns the variables with which the real pynvml finds it."""
    from infra.fake_nvml.build import build_library, environment
    from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario

    scenario = folder / "gpus.scenario"
    if not scenario.exists():
        write_scenario(scenario, scenario_text(folder.resolve().name, H100_SXM, gpus))
    return environment(build_library(cache_dir() / "nvml"), scenario)


def run_agent(*arguments: str, environment: dict[str, str] | None = None) -> None:
    """Become the agent's own program: signals and the exit status are its own, and no wrapper can leave it behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-P", "-m", "agents.node", *arguments]
    os.execve(sys.executable, command, os.environ | (environment or {}))


def add_to(app: App) -> None:
    app.command(agent)
