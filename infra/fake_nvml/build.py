"""Builds the stand-in NVML library once per source: `python -m infra.fake_nvml.build FOLDER` prints where it lies."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = (FOLDER / "nvml.c", FOLDER / "script.c")
HEADERS = (FOLDER / "script.h",)
LIBRARY = "libnvidia-ml.so.1"
FLAGS = ("-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-pthread", f"-Wl,-soname,{LIBRARY}")


class NoCompiler(RuntimeError):
    """No C compiler was found (looked for $CC, cc, gcc, clang and the package ziglang)."""


def find_compiler() -> list[str]:
    """Returns the command of a C compiler."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NoCompiler(NoCompiler.__doc__)


def build_library(folder: Path) -> Path:
    """Builds into a sub-folder named by the sources' digest, unless it is there, and returns it for LD_LIBRARY_PATH."""
    sources = b"".join(file.read_bytes() for file in (*SOURCES, *HEADERS))
    target = folder / sha256(sources).hexdigest()[:16]
    if not (target / LIBRARY).exists():
        target.mkdir(parents=True, exist_ok=True)
        unfinished = target / f"{LIBRARY}.{os.getpid()}"
        subprocess.run([*find_compiler(), *FLAGS, "-o", str(unfinished), *map(str, SOURCES)], check=True)
        unfinished.rename(target / LIBRARY)
    return target


def environment(library_folder: Path, scenario: Path) -> dict[str, str]:
    """Returns the variables that make a child process read the scenario through the stand-in."""
    path = os.environ.get("LD_LIBRARY_PATH")
    return {
        "LD_LIBRARY_PATH": f"{library_folder}:{path}" if path else str(library_folder),
        "HOURBOOK_FAKE_NVML_SCENARIO": str(scenario),
    }


if __name__ == "__main__":
    print(build_library(Path(sys.argv[1])))
