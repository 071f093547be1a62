"""Builds the Cython engine; everything else about the distribution stands in pyproject.toml.

`HOURBOOK_CYTHON_CHECKS=1` builds with bounds, overflow and None checks; `HOURBOOK_SANITIZE=1` for the address and
undefined-behaviour sanitizers, whose runtimes are then to be preloaded; `HOURBOOK_NO_ENGINE=1` builds no extension at
all, and the plain-Python reference engine takes its place.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from setuptools import Extension, setup

CHECKED = os.environ.get("HOURBOOK_CYTHON_CHECKS") == "1"
SANITIZED = os.environ.get("HOURBOOK_SANITIZE") == "1"
WITHOUT_ENGINE = os.environ.get("HOURBOOK_NO_ENGINE") == "1"
FOR_A_WHEEL = "bdist_wheel" in sys.argv

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
# Debug information costs a fifth of the build, and nobody reads it but a debugger.
OPTIMIZATION = ["-O1", "-g", *SANITIZERS] if SANITIZED else ["-O3", "-g0"]
PROCESSORS = os.cpu_count() or 1
# Where processes are not forked, a translator's process would run this file again from its start.
TRANSLATORS = PROCESSORS if multiprocessing.get_start_method() == "fork" else 0

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": CHECKED,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "overflowcheck": CHECKED,
    "cdivision": not CHECKED,
}


def remove_stale(folders: list[str], sources: list[Path]) -> None:
    """Removes what was compiled of sources that have moved: Python would go on importing it."""
    for folder in folders:
        for compiled in [*Path(folder).rglob("*.so"), *Path(folder).rglob("*.c")]:
            if compiled.with_name(compiled.name.partition(".")[0] + ".pyx") not in sources:
                compiled.unlink()


def engine_extensions() -> list[Extension]:
    """One extension for each .pyx of the matching engine and, in a checkout, of what its benches run."""
    folders = ["matching_engine"] if FOR_A_WHEEL else ["matching_engine", "benchmarks/harness"]
    sources = sorted(source for folder in folders for source in Path(folder).rglob("*.pyx"))
    if sources:  # a source distribution has the C files alone
        remove_stale(folders, sources)
    if WITHOUT_ENGINE or not sources:
        return []
    from Cython.Build import cythonize

    extensions = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [source.as_posix()],
            extra_compile_args=[*OPTIMIZATION, "-Wall", "-UNDEBUG" if CHECKED or SANITIZED else "-DNDEBUG"],
            extra_link_args=SANITIZERS if SANITIZED else [],
        )
        for source in sources
    ]
    return cythonize(extensions, compiler_directives=DIRECTIVES, force=CHECKED, quiet=True, nthreads=TRANSLATORS)


setup(ext_modules=engine_extensions(), options={"build_ext": {"parallel": PROCESSORS}})
