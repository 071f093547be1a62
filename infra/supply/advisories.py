"""What is known against the components: advisories in the OSV form (ossf.github.io/osv-schema), from files."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from infra.supply.components import Component


class BadAdvisories(ValueError):
    """The file is not there, or holds something else than advisories."""


@dataclass(frozen=True)
class Finding:
    """One advisory that holds for a component; `fixed` are the versions that it names as mended."""

    component: Component
    advisory: str
    summary: str
    fixed: tuple[str, ...]


def read_advisories(source: Path) -> list[dict[str, Any]]:
    """Returns the advisories of a JSON file (one, or a list), a folder of them, or a zip of them. Raises
    BadAdvisories.
    """
    try:
        found = [advisory for text in _texts(source) for advisory in _listed(json.loads(text))]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadAdvisories(f"{source}: {error}") from error
    for advisory in found:
        if not isinstance(advisory, dict) or not isinstance(advisory.get("id"), str):
            raise BadAdvisories(f"{source} holds something that is not an OSV advisory")
    if not found:
        raise BadAdvisories(f"{source} holds no advisory")
    return found


def _texts(source: Path) -> Iterator[str]:
    if source.is_dir():
        yield from (path.read_text() for path in sorted(source.rglob("*.json")))
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            yield from (archive.read(name).decode() for name in archive.namelist() if name.endswith(".json"))
    else:
        yield source.read_text()


def _listed(document: Any) -> list[Any]:
    return document if isinstance(document, list) else [document]


def find_known(components: list[Component], advisories: list[dict[str, Any]]) -> list[Finding]:
    """Returns every advisory that holds for one of the components, withdrawn ones left out, by name and advisory."""
    by_name: dict[tuple[str, str], list[Component]] = {}
    for each in components:
        by_name.setdefault((each.ecosystem, _plain(each.ecosystem, each.name)), []).append(each)
    found = []
    for advisory in advisories:
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            ecosystem = package.get("ecosystem", "")
            for component in by_name.get((ecosystem, _plain(ecosystem, package.get("name", ""))), ()):
                if _affects(affected, component):
                    found.append(Finding(component, advisory["id"], _summary(advisory), _fixed_in(affected)))
    return sorted(found, key=lambda each: (each.component.name, each.advisory))


def _plain(ecosystem: str, name: str) -> str:
    """Returns a name as the ecosystem compares it; a jar's group is in no file name, so that Maven's is left out."""
    return canonicalize_name(name) if ecosystem == "PyPI" else name.rpartition(":")[2]


def _affects(affected: dict[str, Any], component: Component) -> bool:
    if component.version in affected.get("versions", ()):
        return True
    version = _version(component.version)
    ranges = (each for each in affected.get("ranges", ()) if each.get("type") != "GIT")
    return any(_within(each.get("events", ()), version) for each in ranges)


def _within(events: Any, version: Version) -> bool:
    """Says whether a version lies in a range: the last event at or before it decides (OSV's evaluation algorithm)."""
    inside = False
    for kind, at in sorted(((k, v) for event in events for k, v in event.items()), key=_order):
        moment = _version("0" if at == "0" else at)
        if kind == "introduced" and version >= moment:
            inside = True
        elif (kind == "fixed" and version >= moment) or (kind == "last_affected" and version > moment):
            inside = False
    return inside


def _order(event: tuple[str, str]) -> tuple[Version, int]:
    """Orders events by version; of one version what ends a range comes before what begins the next."""
    kind, at = event
    return _version("0" if at == "0" else at), kind == "introduced"


def _version(text: str) -> Version:
    """Returns a version; what Python's rules cannot read (some jars') by its leading numbers."""
    try:
        return Version(text)
    except InvalidVersion:
        numbers = []
        for part in text.split("."):
            if not part.isdigit():
                break
            numbers.append(part)
        return Version(".".join(numbers) or "0")


def _fixed_in(affected: dict[str, Any]) -> tuple[str, ...]:
    events = (event for each in affected.get("ranges", ()) for event in each.get("events", ()))
    return tuple(event["fixed"] for event in events if "fixed" in event)


def _summary(advisory: dict[str, Any]) -> str:
    text = advisory.get("summary") or advisory.get("details") or ""
    return text.strip().splitlines()[0][:200] if text.strip() else ""
