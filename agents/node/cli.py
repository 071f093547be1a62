"""The program `hourbook-agent` (also `python -m agents.node`): runs one node, and answers what its operator asks."""

import argparse
import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import agents.node.lean  # noqa: F401
from agents.node.app import run_agent, run_inspection
from agents.node.config import AgentConfig
from agents.node.ending import ExitStatus, interrupt_at_once
from agents.node.enrol import AGENT_VERSION
from agents.node.errors import AgentError, StateInUse
from agents.node.logs import LEVELS, set_up_logs

OLD_FORM = "--config"
log = logging.getLogger("hourbook.agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns an `ExitStatus`."""
    options = _read(list(sys.argv[1:] if arguments is None else arguments))
    set_up_logs(options.log_level or "info", options.log_json)
    interrupt_at_once()
    try:
        return _run(options)
    except StateInUse as error:
        log.error("%s", error)
        return ExitStatus.IN_USE
    except AgentError as error:
        log.error("%s", error)
        return ExitStatus.MEND
    except BrokenPipeError:
        return ExitStatus.MEND
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        log.error("the operating system refused: %s%s", place, error.strerror or error)
        return ExitStatus.MEND
    except KeyboardInterrupt:
        log.warning("interrupted: stopping here")
        return ExitStatus.INTERRUPTED
    except Exception:
        log.exception("the agent ends after an internal error")
        return ExitStatus.FAILED


def _run(options: argparse.Namespace) -> int:
    if options.command == "check":
        from agents.node import commands  # the running agent's memory is counted

        problems = commands.check(options.config)
        _print("\n".join(problems) if problems else "all in order")
        return ExitStatus.MEND if problems else ExitStatus.OK
    if options.command == "meter":
        # nothing of these is of use to the agent, whose memory is counted
        if options.prove:
            from agents.node import renter_proof

            return ExitStatus(renter_proof.run(options.lease, options.key, options.url))
        from agents.node import renter

        return ExitStatus(renter.run(options.lease, options.key, options.url))
    if options.command == "doctor":
        return _examine(options)
    if options.command == "verify":
        return _verify(options)
    if options.command == "plan" or (options.command == "run" and options.dry_run):
        return _plan(options)
    config = AgentConfig.load(options.config)
    set_up_logs(options.log_level or config.log_level or "info", options.log_json or config.log_json)
    if options.command == "run":
        asyncio.run(run_agent(config))
        return ExitStatus.OK
    return _answer(config, options)


def _answer(config: AgentConfig, options: argparse.Namespace) -> int:
    """Does what an operator asks of a node besides running it."""
    from agents.node import commands, declaring, leaving  # the running agent's memory is counted

    match options.command:
        case "inspect":
            _print(asyncio.run(run_inspection(config, tuple(options.uuids), options.nonce)).model_dump_json())
        case "status":
            _show_status(config, options)
        case "close-leases":
            closed = asyncio.run(commands.close_leases(config))
            _show(closed)
            return ExitStatus.OK if set(closed["leases"].values()) <= {"closed"} else ExitStatus.MEND
        case "drain":
            return asyncio.run(leaving.drain(config, options.undo, options.wait, _print))
        case "move":
            _show(asyncio.run(leaving.move(config, options.into, options.release_to, options.abandon_sold)))
        case "retire":
            _show(asyncio.run(commands.retire(config, options.release_to)))
        case "gpus":
            _show(asyncio.run(commands.gpus(config, options.update)))
        case "dispute":
            evidence = declaring.evidence_of(options.evidence, options.evidence_file)
            _show(asyncio.run(declaring.dispute(config, options.position, options.claim, evidence)))
        case "recall":
            _show(asyncio.run(declaring.recall(config, options.position, tuple(options.gpu), options.at)))
        case "maintenance":
            _show(asyncio.run(declaring.maintenance(config, options.start, options.end)))
    return ExitStatus.OK


def _show_status(config: AgentConfig, options: argparse.Namespace) -> None:
    """Prints how the node stands, once or again and again until Ctrl-C."""
    from agents.node import commands
    from agents.node.status_view import CLEAR, lines_of

    while True:
        shown = asyncio.run(commands.status(config))
        if options.json:
            _print(json.dumps(shown, ensure_ascii=False) if options.watch else json.dumps(shown, indent=1))
        else:
            clear = CLEAR if options.watch and sys.stdout.isatty() else ""
            _print(clear + "\n".join(lines_of(shown)))
        if options.watch is None:
            return
        time.sleep(options.watch)


def _examine(options: argparse.Namespace) -> ExitStatus:
    from agents.node.doctor.examination import examine  # the running agent's memory is counted
    from agents.node.doctor.findings import document_of
    from agents.node.doctor.findings import lines_of as finding_lines

    findings = asyncio.run(examine(options.config))
    if options.json:
        _show(document_of(findings))
    else:
        _print("\n".join(finding_lines(findings, options.all)))
    bad = ("mend", "warning") if options.strict else ("mend",)
    return ExitStatus.MEND if any(finding.verdict in bad for finding in findings) else ExitStatus.OK


def _plan(options: argparse.Namespace) -> ExitStatus:
    from agents.node.planning import lines_of as plan_lines  # the running agent's memory is counted
    from agents.node.planning import plan

    document = asyncio.run(plan(AgentConfig.load(options.config)))
    if options.json:
        _show(document)
    else:
        _print("\n".join(plan_lines(document)))
    return ExitStatus.OK


def _verify(options: argparse.Namespace) -> ExitStatus:
    from agents.node.proof.verify import lines_of, verify  # the running agent's memory is counted

    measured = verify(options.backend, options.gpu, options.n, options.rounds, options.stride, options.repeat)
    if options.json:
        _show({"gpus": [asdict(each) for each in measured]})
    else:
        _print("\n".join(lines_of(measured)))
    return ExitStatus.MEND if any(each.reason for each in measured) else ExitStatus.OK


def _print(text: str) -> None:
    """Prints, whatever characters the terminal knows; what cannot be written is found out here, not at the exit."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _show(document: dict) -> None:
    _print(json.dumps(document, indent=1, ensure_ascii=False))


def _read(arguments: list[str]) -> argparse.Namespace:
    if OLD_FORM in arguments or any(each.startswith(OLD_FORM + "=") for each in arguments):
        return _read_old(arguments)
    # What declarations are read by takes memory, which is counted in the running agent.
    return _parser(with_declarations=arguments[:1] != ["run"]).parse_args(arguments)


def _parser(with_declarations: bool = True) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("config", type=Path, metavar="AGENT.TOML", help="the agent's configuration file")
    _add_log_options(shared)
    parser = argparse.ArgumentParser(prog="hourbook-agent", description="The agent of one GPU node.")
    parser.add_argument("--version", action="version", version=AGENT_VERSION)
    parts = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = parts.add_parser("run", parents=[shared], help="run the node until SIGINT, SIGTERM or SIGHUP")
    run.add_argument("--dry-run", action="store_true", help="like `plan`: print what it would post, then exit")
    run.add_argument("--json", action="store_true", help="of --dry-run")
    plan = parts.add_parser("plan", parents=[shared], help="print the asks that the policy makes now, and why")
    plan.add_argument("--json", action="store_true", help="everything, as one JSON document")
    parts.add_parser("check", parents=[shared], help="report what is wrong with its files, hooks and GPUs")
    status = parts.add_parser(
        "status", parents=[shared], help="show why each GPU is not offered, and what the node earns"
    )
    status.add_argument("--json", action="store_true", help="everything, as one JSON document")
    status.add_argument("--watch", nargs="?", type=_pause_s, const=5.0, metavar="SECONDS", help="repeat (every 5 s)")
    drain = parts.add_parser("drain", parents=[shared], help="offer nothing new, deliver what is sold, then end")
    drain.add_argument("--undo", action="store_true", help="offer again")
    drain.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait until the node is drained")
    move = parts.add_parser("move", parents=[shared], help="retire the node here, and prepare its start elsewhere")
    move.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="folder to carry to the other machine")
    move.add_argument("--release-to", metavar="ACCOUNT", help="the account that may enrol the GPUs; yours by default")
    move.add_argument("--abandon-sold", action="store_true", help="even with sold hours, which are then not delivered")
    inspect = parts.add_parser("inspect", parents=[shared], help="deposit a signed inspection report")
    inspect.add_argument("uuids", nargs="*", metavar="UUID", help="these GPUs; all by default")
    inspect.add_argument("--nonce", help="bind the inspection to this nonce, not to one of the venue's")
    parts.add_parser("close-leases", parents=[shared], help="close every lease when the agent no longer runs")
    retire = parts.add_parser("retire", parents=[shared], help="end the node for good; its GPUs may be enrolled again")
    retire.add_argument("--release-to", metavar="ACCOUNT", help="the account that may enrol the GPUs; yours by default")
    gpus = parts.add_parser("gpus", parents=[shared], help="list the machine's GPUs beside those enrolled")
    gpus.add_argument("--update", action="store_true", help="tell the venue of GPUs that came or went")
    _add_doctor(parts)
    _add_verify(parts)
    if with_declarations:
        _add_declarations(parts, shared)
    _add_meter(parts)
    return parser


def _pause_s(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) else 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("should be 0.1 to 86400 seconds")
    return seconds


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError("should be a whole number of plain digits")
    return int(text)


def _add_verify(parts: argparse._SubParsersAction) -> None:
    verify = parts.add_parser("verify", help="run the proof on this machine's GPUs without a venue, and measure it")
    verify.add_argument("--backend", choices=("cuda", "numpy"), default="cuda", help="numpy: on the CPU")
    verify.add_argument("--gpu", action="append", default=[], metavar="GPU", help="UUID or PCI address; all by default")
    verify.add_argument("-n", type=_whole, metavar="N", help="size of the matrices; 8192 by default, 1024 on the CPU")
    verify.add_argument("--rounds", type=_whole, help="by default what fills 95 %% of the memory, 4 on the CPU")
    verify.add_argument("--stride", type=_whole, default=8, help="stride of the residency sample (8)")
    verify.add_argument("--repeat", type=_whole, default=1, help="number of runs, one after another (1)")
    verify.add_argument("--json", action="store_true")
    _add_log_options(verify)


def _add_doctor(parts: argparse._SubParsersAction) -> None:
    doctor = parts.add_parser("doctor", help="check everything that selling needs, and say what to fix")
    doctor.add_argument("config", nargs="?", type=Path, metavar="AGENT.TOML", help="without it, only the hardware")
    doctor.add_argument("--all", action="store_true", help="also print a line for each NVML call that succeeds")
    doctor.add_argument("--json", action="store_true", help="everything, as one JSON document")
    doctor.add_argument("--strict", action="store_true", help="exit with status 1 for warnings too")
    _add_log_options(doctor)


def _add_declarations(parts: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    from agents.node import declaring
    from schemas.disputes import DisputeReason

    position = {"type": declaring.position_id, "metavar": "POSITION", "help": "the number of a position of this node"}
    moment = {"type": declaring.moment_ms, "metavar": "TIME"}
    dispute = parts.add_parser("dispute", parents=[shared], help="dispute a settled position of this node")
    dispute.add_argument("position", **position)
    dispute.add_argument("--claim", required=True, choices=get_args(DisputeReason), help="what is wrong with it")
    said = dispute.add_mutually_exclusive_group()
    said.add_argument("--evidence", default="", metavar="TEXT")
    said.add_argument("--evidence-file", type=Path, metavar="FILE")
    recall = parts.add_parser("recall", parents=[shared], help="take GPUs of an interruptible position back")
    recall.add_argument("position", **position)
    recall.add_argument("--gpu", action="append", default=[], metavar="UUID", help="one GPU, repeatable; default: all")
    recall.add_argument("--from", dest="at", **moment, help="start time; default: the earliest with notice")
    maintenance = parts.add_parser("maintenance", parents=[shared], help="declare maintenance of this node")
    maintenance.add_argument("start", **moment, help="such as 2026-11-22T13:00Z, a minute from now at the earliest")
    maintenance.add_argument("end", **moment, help="a week later at the latest")


def _add_meter(parts: argparse._SubParsersAction) -> None:
    meter = parts.add_parser("meter", help="the renter's own meter of a lease, inside what he rents")
    meter.add_argument("--lease", required=True, help="the lease's id, as the venue shows it")
    meter.add_argument("--key", required=True, type=Path, help="file with the meter key, 64 hex digits")
    meter.add_argument("--url", required=True, help="the venue's delivery service")
    meter.add_argument("--prove", action="store_true", help="prove the GPUs once, instead of metering them")
    _add_log_options(meter)


def _read_old(arguments: list[str]) -> argparse.Namespace:
    """Reads the form of before: `--config FILE [--inspect [UUID …]] [--nonce NONCE]`."""
    parser = argparse.ArgumentParser(prog="hourbook-agent")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--inspect", nargs="*", metavar="UUID", dest="uuids")
    parser.add_argument("--nonce")
    _add_log_options(parser)
    options = parser.parse_args(arguments)
    options.command, options.dry_run = "run" if options.uuids is None else "inspect", False
    return options


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", choices=LEVELS, help="info by default, or what the file says")
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line")
