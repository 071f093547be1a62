"""Commands about what others wrote: a bill of materials, and what advisories know against it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show

VULNERABLE = 2


def sbom(*, into: Path | None = None) -> None:
    """Print the bill of materials in CycloneDX 1.6 (JSON): every pinned package and jar; or write it INTO a file."""
    from importlib.metadata import version

    try:
        from infra.supply.bill import bill_of_materials
    except ImportError as error:
        raise CommandError(f"{error.name} is not installed; it comes with the extra `dev`") from error
    from infra.supply.components import read_components

    text = bill_of_materials(version("hourbook-exchange"), read_components())
    if into is None:
        print(text)
    else:
        into.write_text(f"{text}\n")


def audit(
    *,
    advisories: Annotated[
        Path | None, Parameter(env_var="HOURBOOK_ADVISORIES", help="OSV advisories: a JSON file, a folder or a zip.")
    ] = None,
    json: bool = False,
) -> int:
    """Say which pinned packages have known vulnerabilities, after the advisories given; exit with 2 where one has."""
    from infra.supply.advisories import BadAdvisories, find_known, read_advisories
    from infra.supply.components import read_components

    if advisories is None:
        raise CommandError(
            "no advisories to look in: nothing was checked. --advisories names a file, folder or zip of OSV's"
        )
    try:
        known = read_advisories(advisories)
    except BadAdvisories as error:
        raise CommandError(f"{error}: nothing was checked") from error
    components = read_components()
    found = find_known(components, known)
    if json:
        show({"components": len(components), "advisories": len(known), "found": list(map(asdict, found))}, json=True)
    else:
        for each in found:
            mended = f"; fixed in {', '.join(each.fixed)}" if each.fixed else ""
            print(f"{each.component.name} {each.component.version}: {each.advisory} {each.summary}{mended}")
        print(f"{len(components)} components against {len(known)} advisories: {len(found)} known vulnerabilities")
    return VULNERABLE if found else 0


def add_to(app: App) -> None:
    """Registers the commands."""
    group = App(name="dependencies", help="What others wrote: a bill of materials, known vulnerabilities.")
    group.command(sbom)
    group.command(audit)
    app.command(group)
