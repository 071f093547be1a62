"""Snapshots: the whole state as canonical JSON with its version and SHA-256; damaged or foreign bytes are refused."""

import json
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError

from matching_engine.errors import BadSnapshot
from matching_engine.reference.state import State

VERSION = 1
ENGINE = "reference"
STATE = TypeAdapter(State)


def write(state: State) -> bytes:
    """Returns one line of JSON: engine, version, hash, state. The same state always gives the same bytes."""
    state.timers.sort()
    body = dump(STATE.dump_python(state, mode="json"))
    header = dump({"engine": ENGINE, "version": VERSION, "sha256": sha256(body).hexdigest()})
    return header + b"\n" + body


def read(raw: bytes) -> State:
    """Returns the state. Raises BadSnapshot."""
    header, _, body = raw.partition(b"\n")
    expected = dump({"engine": ENGINE, "version": VERSION, "sha256": sha256(body).hexdigest()})
    if header != expected:
        raise BadSnapshot("not a snapshot of the reference engine, another version, or damaged")
    try:
        return STATE.validate_json(body)
    except ValidationError as error:
        raise BadSnapshot(str(error)) from error


def dump(data: dict) -> bytes:
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode()
