"""Fetches Apache Kafka once per user: resolves its jars by Maven's rules, checks each, keeps them in the cache."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.places import cache_dir

VERSION = "4.4.0"
SERVER = f"org.apache.kafka:kafka_2.13:{VERSION}"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
CHECKSUMS = Path(__file__).with_name(f"kafka-{VERSION}-jars.sha256")


class WrongJar(RuntimeError):
    """A fetched jar is not the one this release was tested with."""


def jars_dir() -> Path:
    return cache_dir() / f"kafka-{VERSION}"


def wanted_jars() -> dict[str, str]:
    """File name → SHA-256 of every jar of the release."""
    return {name: digest for digest, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}


def is_complete() -> bool:
    return {path.name for path in jars_dir().glob("*.jar")} == set(wanted_jars())


def fetch_jars() -> None:
    """Resolve and download every jar, check them all, and keep them in the cache."""
    import jgo

    artifacts = jgo.resolve(SERVER)
    artifacts += [artifact for artifact in jgo.resolve(LOGGING) if artifact.artifactId == LOGGING.split(":")[1]]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda artifact: artifact.resolve(), artifacts))
    check_jars(paths)
    keep_jars(paths)


def check_jars(paths: list[Path]) -> None:
    """Raise WrongJar unless the files are exactly the wanted ones, byte for byte."""
    wanted = wanted_jars()
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    if found != wanted:
        differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise WrongJar(f"jars differ from {CHECKSUMS.name}: {', '.join(differing)}")


def keep_jars(paths: list[Path]) -> None:
    """Copy the jars into the cache, where they appear all at once."""
    partial = jars_dir().with_name(f"{jars_dir().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in paths:
        shutil.copyfile(path, partial / path.name)
    shutil.rmtree(jars_dir(), ignore_errors=True)
    partial.rename(jars_dir())
