"""The program `hourbook-agent` (also `python -m agents.node`): runs one node, and answers what its operator asks."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.node import commands
from agents.node.app import run_agent, run_inspection
from agents.node.config import AgentConfig
from agents.node.ending import ExitStatus
from agents.node.enrol import AGENT_VERSION
from agents.node.errors import AgentError, StateInUse
from agents.node.logs import LEVELS, set_up_logs

OLD_FORM = "--config"
log = logging.getLogger("hourbook.agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns an `ExitStatus`."""
    options = _read(list(sys.argv[1:] if arguments is None else arguments))
    set_up_logs(options.log_level, options.log_json)
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
    except Exception:
        log.exception("the agent has a fault and ends")
        return ExitStatus.FAILED


def _run(options: argparse.Namespace) -> int:
    if options.command == "check":
        problems = commands.check(options.config)
        print("\n".join(problems) if problems else "all in order")
        return ExitStatus.MEND if problems else ExitStatus.OK
    config = AgentConfig.load(options.config)
    match options.command:
        case "run":
            asyncio.run(run_agent(config))
        case "inspect":
            print(asyncio.run(run_inspection(config, tuple(options.uuids), options.nonce)).model_dump_json())
        case "status":
            _show(asyncio.run(commands.status(config)))
        case "retire":
            _show(asyncio.run(commands.retire(config, options.release_to)))
        case "gpus":
            _show(asyncio.run(commands.gpus(config, options.update)))
    return ExitStatus.OK


def _show(document: dict) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False))


def _read(arguments: list[str]) -> argparse.Namespace:
    if OLD_FORM in arguments or any(each.startswith(OLD_FORM + "=") for each in arguments):
        return _read_old(arguments)
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("config", type=Path, metavar="AGENT.TOML", help="the agent's configuration file")
    _add_log_options(shared)
    parser = argparse.ArgumentParser(prog="hourbook-agent", description="The agent of one GPU node.")
    parser.add_argument("--version", action="version", version=AGENT_VERSION)
    parts = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parts.add_parser("run", parents=[shared], help="run the node until SIGINT, SIGTERM or SIGHUP")
    parts.add_parser("check", parents=[shared], help="say what is wrong with its files, hooks and GPUs")
    parts.add_parser("status", parents=[shared], help="say how the node stands here and at the venue")
    inspect = parts.add_parser("inspect", parents=[shared], help="deposit a signed inspection report")
    inspect.add_argument("uuids", nargs="*", metavar="UUID", help="these GPUs; all by default")
    inspect.add_argument("--nonce", help="bind the inspection to this nonce, not to one of the venue's")
    retire = parts.add_parser("retire", parents=[shared], help="end the node for good; its GPUs may be enrolled anew")
    retire.add_argument("--release-to", metavar="ACCOUNT", help="the account that may enrol the GPUs; yours by default")
    gpus = parts.add_parser("gpus", parents=[shared], help="list the machine's GPUs beside those enrolled")
    gpus.add_argument("--update", action="store_true", help="tell the venue of GPUs that came or went")
    return parser


def _read_old(arguments: list[str]) -> argparse.Namespace:
    """Reads the form of before: `--config FILE [--inspect [UUID …]] [--nonce NONCE]`."""
    parser = argparse.ArgumentParser(prog="hourbook-agent")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--inspect", nargs="*", metavar="UUID", dest="uuids")
    parser.add_argument("--nonce")
    _add_log_options(parser)
    options = parser.parse_args(arguments)
    options.command = "run" if options.uuids is None else "inspect"
    return options


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line")
