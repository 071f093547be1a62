"""Runs all of the doctor's checks, with a configuration or of the hardware alone."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.node.config import AgentConfig
from agents.node.doctor.driver import SUBJECT, ask_nvml, examine_driver, pci_gpus
from agents.node.doctor.findings import Finding, mend, ok
from agents.node.doctor.gpus import examine_gpu
from agents.node.doctor.proof import examine_proof
from agents.node.doctor.setup import (
    enrolment_of,
    examine_key,
    examine_policy,
    examine_state,
    examine_token,
    load_config,
    now_s,
)
from agents.node.doctor.venue import examine_venue
from agents.node.errors import AgentError, BadConfiguration
from agents.node.idleness.watch import ask_once
from agents.node.inventory import kernel_version
from agents.node.leases import LeaseBook
from agents.node.nvml import NvmlProcess
from agents.node.policy import IdleRule, Policy, PolicyFile
from agents.node.processes import LiveLease, Owners
from agents.node.state import StateFolder


async def examine(file: Path | None) -> list[Finding]:
    """Returns everything that was looked at, in the order in which one would mend it."""
    if file is None:
        return list(examine_hardware(None, ()))
    config, findings = load_config(file)
    policy, leases = None, ()
    if config is not None:
        policy, found = _examine_setup(config)
        findings += found
        leases = _live_leases(config)
    findings += examine_hardware(policy, leases)
    if policy is not None:
        findings += await _examine_scheduler(policy)
    if config is not None:
        findings += [finding async for finding in examine_venue(config)]
    return findings


def examine_hardware(policy: Policy | None, leases: Sequence[LiveLease]) -> Iterator[Finding]:
    """Yields how the driver and each GPU are."""
    process = NvmlProcess()
    try:
        answer, reason = ask_nvml(process)
    finally:
        process.close()
    if answer is None:
        yield mend(SUBJECT, f"NVML does not answer: {reason}")
        return
    yield from examine_driver(answer, kernel_version(), pci_gpus())
    owners = Owners()
    grade, idle = (policy.grade, policy.idle) if policy else (None, IdleRule())
    for gpu in answer["gpus"]:
        yield from examine_gpu(gpu, len(answer["gpus"]), grade, idle, owners, leases)
    yield from examine_proof(answer)


def _examine_setup(config: AgentConfig) -> tuple[Policy | None, list[Finding]]:
    findings = [*examine_key(config), *examine_state(config)]
    known = None
    try:
        known = enrolment_of(config)
        findings += examine_token(config, known, now_s())
    except AgentError as error:
        findings.append(mend("enrolment", str(error)))
    try:
        policy = PolicyFile(config.policy).current
    except BadConfiguration as error:
        return None, findings + [mend("policy", problem) for problem in error.problems]
    findings += examine_policy(policy, known)
    pid = StateFolder(config.state_dir).holder() if config.state_dir.exists() else None
    findings.append(ok("agent", f"runs as process {pid}" if pid else "does not run"))
    return policy, findings


async def _examine_scheduler(policy: Policy) -> list[Finding]:
    """Returns what the scheduler says that the policy names, if it names one."""
    look, silence = await ask_once(policy.idle)
    if silence:
        return [mend("scheduler", f"{silence}; nothing is offered while it cannot be asked")]
    if look is None:
        return []
    users = ", ".join(dict.fromkeys(use.what for use in look.uses))
    return [ok("scheduler", f"it answers: {look.gpus} GPUs, {f'used by {users}' if users else 'nobody uses any'}")]


def _live_leases(config: AgentConfig) -> tuple[LiveLease, ...]:
    """Returns the leases whose buyers may be on the GPUs now."""
    if not config.state_dir.exists():
        return ()
    try:
        return LeaseBook(StateFolder(config.state_dir)).live_leases()
    except AgentError as error:
        logging.getLogger("hourbook.agent").warning("%s", error)
        return ()
