"""The operator's files: configuration, key, token, state folder with its disk, policy and hooks."""

import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from agents.node.config import AgentConfig
from agents.node.doctor.findings import Finding, mend, ok, warn
from agents.node.enrol import Enrolment, remembered
from agents.node.errors import AgentError, BadConfiguration
from agents.node.hooks.readiness import problem_of
from agents.node.identity import CHAIN_FILE, KEY_FILE, KEY_FORM
from agents.node.policy import Policy, never_sells
from agents.node.state import StateFolder

MIB = 1024 * 1024
# Reports, leases and kept copies must find room; below the first the disk is as good as full.
FREE_MIB_MIN, FREE_MIB_LOW = 64, 1024
INODES_MIN = 1000
TOKEN_ENDS_SOON_S = 3600


def examine_key(config: AgentConfig) -> Iterator[Finding]:
    """Yields whether the API key can be read, and by whom."""
    if config.api_key_file is None:
        yield ok("api key", "the node acts at the gateway by a key of its own")
        return
    try:
        config.operator_key()
    except BadConfiguration as error:
        yield mend("api key", str(error))
        return
    yield ok("api key", f"{config.api_key}, from {config.api_key_file}")
    yield from _is_private("api key", config.api_key_file)


def examine_token(config: AgentConfig, known: Enrolment | None, now_s: float) -> Iterator[Finding]:
    """Yields whether there is a token where one is needed, and whether it is still good."""
    token = config.read_token()
    if known is not None:
        yield ok("enrolment", f"{known.node_id} of account {known.account}, grade {known.grade}, hub {known.hub}")
        return
    if not token:
        yield mend("enrolment", "the node is not enrolled and there is no token", "get one: hourbook agent init")
        return
    if config.token_file is not None:
        yield from _is_private("enrolment", config.token_file)
    try:
        left_s = json.loads(token)["expires_ms"] / 1000 - now_s
    except (ValueError, TypeError, KeyError):
        yield warn("enrolment", "the token has an unknown format", "paste it as the gateway gave it, in one piece")
        return
    if left_s <= 0:
        yield mend("enrolment", "the token has expired", "get a fresh one: hourbook agent init")
    elif left_s < TOKEN_ENDS_SOON_S:
        yield warn("enrolment", f"the token expires in {left_s / 60:.0f} minutes", "start the agent before that")
    else:
        yield ok("enrolment", f"not enrolled yet; the token is good for {left_s / 3600:.0f} hours more")


def examine_state(config: AgentConfig) -> Iterator[Finding]:
    """Yields how the state folder and its disk are; changes nothing that lasts."""
    folder = config.state_dir
    place = folder if folder.exists() else next(parent for parent in folder.absolute().parents if parent.exists())
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        yield mend("state folder", f"{place} cannot be read and written by user {os.getuid()}", "chown it to the agent")
        return
    disk, files = shutil.disk_usage(place), os.statvfs(place)
    free_mib, kept_mib = disk.free // MIB, config.kept_bytes_max // MIB
    said = f"{free_mib} MiB free of {disk.total // MIB} under {place}"
    if free_mib < FREE_MIB_MIN:
        yield mend("state folder", said, "free some: the agent cannot store its reports")
    elif free_mib < max(FREE_MIB_LOW, 2 * kept_mib):
        yield warn("state folder", said, f"free some: the agent keeps up to {kept_mib} MiB of reports for the venue")
    else:
        yield ok("state folder", said)
    if files.f_files and files.f_favail < INODES_MIN:
        yield warn("state folder", f"{files.f_favail} inodes are free under {place}", "remove small files")
    if folder.exists():
        yield from _node_key(folder)


def enrolment_of(config: AgentConfig) -> Enrolment | None:
    """Returns the enrolment, where the state folder has one."""
    return remembered(StateFolder(config.state_dir)) if config.state_dir.exists() else None


def examine_policy(policy: Policy, known: Enrolment | None) -> Iterator[Finding]:
    """Yields whether the node can ever sell by the policy, and whether its hooks have what they need."""
    hindrance = known and never_sells(policy, known.grade, known.hub, len(known.gpu_uuids))
    tiers = ", ".join(offer.tier for offer in policy.tiers)
    yield mend("policy", hindrance) if hindrance else ok("policy", f"sells {policy.hub} {tiers}")
    if problem := problem_of(policy.hooks):
        yield mend("hooks", problem)
    elif policy.hooks.kind == "command":
        programs = f"{policy.hooks.start[0]} and {policy.hooks.stop[0]}"
        yield ok("hooks", f"{programs} can be run; what they do is not tried")
    else:
        yield ok("hooks", f"{policy.hooks.kind} has here what it needs")


def _node_key(folder: Path) -> Iterator[Finding]:
    key = folder / KEY_FILE
    if not key.exists():
        if (folder / CHAIN_FILE).exists():
            yield mend("node key", f"{key} is gone, and the chain of an enrolled node is there", "restore its backup")
        return
    try:
        is_key = KEY_FORM.fullmatch(key.read_bytes().decode("latin-1").strip()) is not None
    except OSError as error:
        yield mend("node key", f"{key}: {error.strerror}", "let the agent's user read it")
        return
    yield ok("node key", f"{key}") if is_key else mend("node key", f"{key} is damaged", "restore its backup")
    yield from _is_private("node key", key)


def _is_private(subject: str, file: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        yield warn(subject, f"{file} can be read by others (mode {mode:03o})", f"chmod 600 {file}")


def load_config(file: Path) -> tuple[AgentConfig | None, list[Finding]]:
    """Returns the configuration, or what is wrong with it."""
    try:
        config = AgentConfig.load(file)
    except BadConfiguration as error:
        return None, [mend("configuration", problem) for problem in error.problems]
    except AgentError as error:
        return None, [mend("configuration", str(error))]
    return config, [ok("configuration", str(file))]


def now_s() -> float:
    """Returns the machine's clock, which is what the operator sees."""
    return time.time()
