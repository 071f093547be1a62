"""A receipt is recomputed from its file alone, and whatever is changed in the file is found (C.6)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clients.cli import receipt as commands
from clients.cli.output import CommandError
from clients.receipts import faults_of
from schemas.receipts import ReceiptFile, key_id_of
from tests.fixtures.receipts import VENUE_PUBLIC, receipt_file, sign_again

OTHER_KEY = "ab" * 32
NOT_THE_VENUES = "signature: it is not the venue's signature over this file"


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all plain values of a document."""
    if isinstance(value, dict | list):
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, (*path, name))
    else:
        yield path


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value[:-1] + ("1" if value[-1:] != "1" else "2")


def tampered(document: dict, path: tuple) -> dict:
    """The document with one value changed."""
    document = json.loads(json.dumps(document))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = changed(place[path[-1]])
    return document


def is_found(document: dict) -> bool:
    try:
        return bool(faults_of(ReceiptFile.model_validate_json(json.dumps(document)), VENUE_PUBLIC))
    except ValidationError:
        return True


def test_a_sound_receipt_has_no_faults_and_pays_for_what_was_delivered():
    file = receipt_file()
    assert faults_of(file, VENUE_PUBLIC) == []
    assert (file.receipt.delivered_gpu_s, file.receipt.used_gpu_s, file.receipt.damages_micros) == (100, 100, 11_384)


def test_a_change_of_any_field_is_found():
    document = receipt_file().model_dump(mode="json")
    paths = list(leaves(document))
    assert len(paths) > 200
    assert [path for path in paths if not is_found(tampered(document, path))] == []


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (("receipt", "paid_micros"), "settlement: paid_micros is 55555, the receipt says 55556"),
        (("receipt", "refunded_micros"), "settlement: refunded_micros is 11113, the receipt says 11114"),
        (("receipt", "delivered_gpu_s"), "meter: delivered_gpu_s is 100, the receipt says 101"),
        (("receipt", "terms", "tier"), "settlement: H100SXM80.CNE.F is not of tier I"),
        (("meter", "access_ms"), "meter: the inputs' digest is "),
        (("reports", 1, "report", "gpus", 0, "energy_mj"), "reports: report 2 is not the one that the inputs name"),
        (("reports", 1, "report", "signature"), "reports: report 2 is not signed by its node"),
    ],
)
def test_a_venue_that_signs_a_wrong_receipt_is_found_out_by_the_figures(path, fault):
    document = receipt_file().model_dump(mode="json")
    wrong = tampered(document, path)
    if path[-1] == "tier":
        wrong["receipt"]["terms"]["tier"] = "I"
    file = sign_again(ReceiptFile.model_validate_json(json.dumps(wrong)))
    faults = faults_of(file, VENUE_PUBLIC)
    assert NOT_THE_VENUES not in faults
    assert any(each.startswith(fault) for each in faults)


def test_a_report_left_out_is_missed():
    file = receipt_file()
    short = sign_again(file.model_copy(update={"reports": file.reports[:-1]}))
    assert faults_of(short, VENUE_PUBLIC) == ["reports: the inputs name 3, the file has 2"]


def test_another_nodes_key_proves_nothing():
    file = sign_again(receipt_file().model_copy(update={"node_key": OTHER_KEY}))
    assert faults_of(file, VENUE_PUBLIC) == [f"reports: the node's key is not that of {file.meter.node}"]


def test_another_venues_key_is_named():
    file = receipt_file()
    assert faults_of(file, OTHER_KEY) == [
        f"signature: the receipt names key {file.key_id}, the venue's key is {key_id_of(OTHER_KEY)}",
        NOT_THE_VENUES,
    ]


def test_the_command_says_each_fault_in_a_line_and_returns_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOURBOOK_DATA", str(tmp_path))
    sound, broken = tmp_path / "sound.json", tmp_path / "broken.json"
    sound.write_bytes(receipt_file().canonical())
    broken.write_text(json.dumps(tampered(receipt_file().model_dump(mode="json"), ("receipt", "fee_micros"))))
    assert commands.verify(sound, venue_key=VENUE_PUBLIC) == 0
    commands.pin(VENUE_PUBLIC)
    capsys.readouterr()
    assert commands.verify(broken) == 1
    shown = capsys.readouterr()
    assert f"key_from     pinned in {tmp_path}/keys/venue-receipts.pub" in shown.out
    assert shown.err.splitlines() == [NOT_THE_VENUES, "settlement: fee_micros is 555, the receipt says 556"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\x00", '{"receipt": 1}', "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_receipt_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "no-receipt"
    file.write_text(text)
    with pytest.raises(CommandError, match=f"{file} is not a receipt: ") as refusal:
        commands.verify(file, venue_key=VENUE_PUBLIC)
    assert "\n" not in str(refusal.value)
    assert ": :" not in str(refusal.value)


def test_a_key_that_is_none_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(CommandError, match="cannot read"):
        commands.verify(tmp_path / "nothing", venue_key=VENUE_PUBLIC)
    sound = tmp_path / "sound.json"
    sound.write_bytes(receipt_file().canonical())
    with pytest.raises(CommandError, match="64 lower-case hex digits"):
        commands.verify(sound, venue_key="xyz")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"contract": "H100SXM80.CNE.F-99999999"}, "receipt: H100SXM80.CNE.F-99999999 names no date"),
        ({"contract": "H100SXM80.CNE.F-26023001"}, "receipt: H100SXM80.CNE.F-26023001 names no date"),
    ],
)
def test_a_receipt_of_no_hour_is_said_to_be_that(change, fault):
    document = receipt_file().model_dump(mode="json")
    document["receipt"] |= change
    file = sign_again(ReceiptFile.model_validate_json(json.dumps(document)))
    assert faults_of(file, VENUE_PUBLIC) == [fault]


@pytest.mark.parametrize("qty", [1, 2**62])
def test_inputs_that_the_meter_was_never_made_for_are_a_fault_and_no_crash(qty):
    document = receipt_file().model_dump(mode="json")
    document["meter"]["qty"] = qty
    faults = faults_of(ReceiptFile.model_validate_json(json.dumps(document)), VENUE_PUBLIC)
    assert faults[2:] == [
        "meter: qty of the inputs is not the receipt's",
        "meter: nothing can be measured on these inputs",
    ]


@pytest.mark.parametrize("name", ["receipt", "signature", "meter"])
def test_a_file_that_says_one_thing_twice_is_refused(tmp_path, name):
    """One reader would take the first, and another the last."""
    file = tmp_path / "twice.json"
    file.write_bytes(b'{"%s":null,' % name.encode() + receipt_file().canonical()[1:])
    with pytest.raises(CommandError) as refusal:
        commands.verify(file, venue_key=VENUE_PUBLIC)
    assert str(refusal.value) == f"{file} is not a receipt: duplicate field `{name}`"


def test_a_file_without_end_is_read_no_further_than_a_receipt_may_be_long(monkeypatch):
    monkeypatch.setattr(commands, "FILE_BYTES_MAX", 1_000)
    with pytest.raises(CommandError) as refusal:
        commands.verify(Path("/dev/zero"), venue_key=VENUE_PUBLIC)
    assert str(refusal.value) == "/dev/zero is not a receipt: it is longer than 1000 bytes"
