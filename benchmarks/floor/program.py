"""Builds the floor program on first use, and runs it over a stream."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".hpp", ".cpp"))
FLAGS = ("-O3", "-march=native", "-std=c++20")
HASHED_IDS_AND_TRADE_BUFFER = "h"
COMPILE_LIMIT_S = 120
RUN_LIMIT_S = 600


class FloorError(Exception):
    """The floor program cannot be built or run; the message is one clear line."""


@dataclass(frozen=True)
class FloorRound:
    """One run over a stream."""

    cpu_ns_per_command: float
    equal: bool


def find_compiler() -> str:
    """The machine's C++ compiler."""
    for name in ("g++", "c++", "clang++"):
        if path := shutil.which(name):
            return path
    raise FloorError("no C++ compiler found (g++, c++ or clang++): the floor is left out")


def build_floor(folder: Path) -> Path:
    """The program for these sources, this compiler and this machine's instructions, built where it is missing."""
    main = next(path for path in SOURCES if path.name == "floor_main.cpp")
    return build_program((main, *(path for path in SOURCES if path != main)), folder, "floor", FLAGS)


def build_program(sources: Sequence[Path], folder: Path, name: str, flags: Sequence[str]) -> Path:
    """What the first source compiles to; the others are what it includes."""
    compiler = find_compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=COMPILE_LIMIT_S).stdout
    digest = hashlib.sha256(b"".join([version, repr(flags).encode(), *map(Path.read_bytes, sources)])).hexdigest()[:16]
    program = folder / f"{name}-{digest}"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".partial")
        command = [compiler, *flags, "-o", str(unfinished), str(sources[0])]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
        if outcome.returncode != 0:
            raise FloorError(f"{compiler} does not build the {name}: {outcome.stderr.strip().splitlines()[-1]}")
        unfinished.rename(program)
    return program


def run_floor(program: Path, stream: Path) -> FloorRound:
    """One round over a stream file: a fresh process, book and id table."""
    command = [str(program), str(stream), "1", HASHED_IDS_AND_TRADE_BUFFER]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S)
    try:
        answer = json.loads(outcome.stdout)
    except json.JSONDecodeError:
        raise FloorError(f"the floor program fell over on {stream.name} (status {outcome.returncode})") from None
    return FloorRound(answer["cpu_ns"], answer["match"])
