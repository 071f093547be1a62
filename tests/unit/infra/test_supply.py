"""The bill of materials, and what advisories in OSV's form say against it."""

import json
import re
import subprocess
import sys
import zipfile

import pytest

from infra.places import REPOSITORY
from infra.supply.advisories import BadAdvisories, find_known, read_advisories
from infra.supply.components import BadLock, Component, read_components

AIOHTTP = Component("PyPI", "aiohttp", "3.13.2", ("0" * 64,))
JAR = Component("Maven", "caffeine", "3.2.0", ("1" * 64,))


def advisory(name="aiohttp", ecosystem="PyPI", **affected) -> dict:
    package = {"ecosystem": ecosystem, "name": name}
    return {"id": "TEST-1", "summary": "reads too much", "affected": [{"package": package, **affected}]}


def events(*pairs) -> list[dict]:
    return [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in pairs]}]


def test_everything_that_the_lock_and_the_broker_pin_is_listed_once():
    components = read_components()
    lock = (REPOSITORY / "requirements.lock").read_text()
    jars = (REPOSITORY / "infra" / "kafka-4.4.0-jars.sha256").read_text()
    assert len(components) == len({(each.ecosystem, each.name, each.version) for each in components})
    assert sum(each.ecosystem == "PyPI" for each in components) == lock.count("==") - lock.count("== ")
    assert sum(each.ecosystem == "Maven" for each in components) == jars.count(".jar")
    assert sum(len(each.sha256) for each in components if each.ecosystem == "PyPI") == lock.count("--hash=sha256:")


def test_a_line_without_a_hash_is_refused(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("aiohttp==3.13.2\n")
    with pytest.raises(
        BadLock, match=re.escape("requirements.lock: no pinned package with its hashes: aiohttp==3.13.2")
    ):
        read_components(lock)


@pytest.mark.parametrize(
    ("affected", "holds"),
    [
        ({"versions": ["3.13.2"]}, True),
        ({"versions": ["3.13.1"]}, False),
        ({"ranges": events(("introduced", "0"))}, True),
        ({"ranges": events(("introduced", "0"), ("fixed", "3.13.2"))}, False),
        ({"ranges": events(("introduced", "0"), ("fixed", "3.13.3"))}, True),
        ({"ranges": events(("introduced", "3.13.3"))}, False),
        ({"ranges": events(("introduced", "0"), ("last_affected", "3.13.2"))}, True),
        ({"ranges": events(("introduced", "0"), ("last_affected", "3.13.1"))}, False),
        ({"ranges": events(("introduced", "3.13"), ("fixed", "3.14"), ("introduced", "0"), ("fixed", "3.9"))}, True),
        ({"ranges": events(("introduced", "0"), ("fixed", "3.9"), ("introduced", "3.14"))}, False),
        ({"ranges": events(("introduced", "0"), ("fixed", "3.9")) + events(("introduced", "3.13.0rc1"))}, True),
        ({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
    ],
)
def test_whether_a_version_is_within_what_an_advisory_names(affected, holds):
    assert bool(find_known([AIOHTTP], [advisory(**affected)])) is holds


def test_names_are_compared_as_their_ecosystem_does():
    component = Component("PyPI", "py-serializable", "2.2.0", ())
    everything = events(("introduced", "0"))
    assert find_known([component], [advisory("Py.Serializable", ranges=everything)])
    assert find_known([JAR], [advisory("com.github.ben-manes.caffeine:caffeine", "Maven", ranges=everything)])
    assert not find_known([JAR], [advisory("caffeine", "PyPI", ranges=everything)])


def test_a_withdrawn_advisory_is_left_out():
    assert find_known([AIOHTTP], [advisory(versions=["3.13.2"]) | {"withdrawn": "2026-01-01T00:00:00Z"}]) == []


def test_advisories_are_read_from_a_file_a_folder_and_a_zip(tmp_path):
    one, two = advisory(), advisory() | {"id": "TEST-2"}
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.json").write_text(json.dumps(one))
    (tmp_path / "folder" / "2.json").write_text(json.dumps(two))
    (tmp_path / "list.json").write_text(json.dumps([one, two]))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("1.json", json.dumps(one))
        archive.writestr("2.json", json.dumps(two))
    assert [read_advisories(tmp_path / name) for name in ("folder", "list.json", "all.zip")] == [[one, two]] * 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 7}', "[1]", "no json", "\x00"])
def test_what_holds_no_advisory_is_no_clean_bill(tmp_path, text):
    (tmp_path / "advisories.json").write_text(text)
    with pytest.raises(BadAdvisories, match=re.escape("advisories.json")):
        read_advisories(tmp_path / "advisories.json")


def hourbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "console", "dependencies", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_the_audit_ends_with_one_where_a_package_is_known_to_be_vulnerable(tmp_path):
    version = next(each.version for each in read_components() if each.name == "aiohttp")
    file = tmp_path / "advisories.json"
    file.write_text(json.dumps(advisory(ranges=events(("introduced", "0"), ("fixed", "99")))))
    found, clean = hourbook("audit", "--advisories", str(file)), hourbook("audit")
    assert (found.returncode, found.stdout.splitlines()[0]) == (
        2,
        f"aiohttp {version}: TEST-1 reads too much; fixed in 99",
    )
    assert (clean.returncode, clean.stderr) == (
        1,
        "hourbook: no advisories to look in: nothing was checked. --advisories names a file, folder or zip of OSV's\n",
    )


def test_the_bill_of_materials_names_every_component_with_its_address():
    pytest.importorskip("cyclonedx")
    document = json.loads(hourbook("sbom").stdout)
    found = {(each["name"], each["version"], each["purl"].split("/")[0]) for each in document["components"]}
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert found == {(each.name, each.version, f"pkg:{each.ecosystem.lower()}") for each in read_components()}
