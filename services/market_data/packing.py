"""Turns the view's state into canonical bytes and back: whatever its classes hold, without a list of their fields.

Objects are numbered in the order they are met, so one that is held in two places is written once and stays one. The
same state gives the same bytes, since the view keeps everything in the order of the log.
"""

import dataclasses
import json
from collections import deque
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

from schemas.base import Model

PACKAGES = ("services.market_data.", "schemas.")
PLAIN = frozenset({int, str, bool, float, type(None)})
CONSTANT = PLAIN | {tuple}
NOTHING = object()
LIST, TUPLE, DEQUE, DICT, MODEL, OBJECT, SEEN = range(7)


class BadState(Exception):
    """The bytes are no state that this view can hold."""


def pack(value: Any) -> bytes:
    """Return canonical bytes. Raises BadState for a value of a class that is not the view's own."""
    packer = _Packer()
    body = packer.pack(value)
    return json.dumps([packer.classes, body], separators=(",", ":"), ensure_ascii=False).encode()


def unpack(data: bytes) -> Any:
    """Return the value that was packed. Raises BadState."""
    try:
        classes, body = json.loads(data)
        return _Unpacker([_class_named(name) for name in classes]).unpack(body)
    except (ValueError, TypeError, LookupError, AttributeError, ImportError) as error:
        raise BadState(repr(error)) from error


class _Packer:
    def __init__(self) -> None:
        self.classes: list[str] = []
        self._class_numbers: dict[type, int] = {}
        self._seen: dict[int, int] = {}

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is list:
            return [LIST, *self._pack_all(value)]
        if kind is tuple:
            return [TUPLE, *self._pack_all(value)]
        if kind is deque:
            return [DEQUE, value.maxlen, *self._pack_all(value)]
        if kind is dict:
            return [DICT, *self._pack_all(part for pair in value.items() for part in pair)]
        return self._pack_object(value, kind)

    def _pack_all(self, values: Iterable[Any]) -> list[Any]:
        return [value if type(value) in PLAIN else self.pack(value) for value in values]

    def _pack_object(self, value: Any, kind: type) -> Any:
        number = self._class_number(kind)
        if isinstance(value, Model):
            return [MODEL, number, value.model_dump(mode="json")]
        if isinstance(value, tuple):
            return [OBJECT, number, *self._pack_all(value)]
        if id(value) in self._seen:
            return [SEEN, self._seen[id(value)]]
        self._seen[id(value)] = len(self._seen)
        names, defaults = members_of(kind)
        held = [getattr(value, name) for name in names]
        # Tens of thousands of contracts never trade: what an object has by default at its end is left out.
        while held and _same(held[-1], defaults[len(held) - 1]):
            held.pop()
        return [OBJECT, number, *self._pack_all(held)]

    def _class_number(self, kind: type) -> int:
        if kind not in self._class_numbers:
            name = f"{kind.__module__}:{kind.__qualname__}"
            if not name.startswith(PACKAGES):
                raise BadState(f"a {name} in the view")
            self._class_numbers[kind] = len(self.classes)
            self.classes.append(name)
        return self._class_numbers[kind]


class _Unpacker:
    def __init__(self, classes: list[type]) -> None:
        self._classes = classes
        self._seen: list[Any] = []

    def unpack(self, body: Any) -> Any:
        if type(body) is not list:
            return body
        match body[0]:
            case 0:
                return self._unpack_all(body, 1)
            case 1:
                return tuple(self._unpack_all(body, 1))
            case 2:
                return deque(self._unpack_all(body, 2), body[1])
            case 3:
                parts = self._unpack_all(body, 1)
                return dict(zip(parts[::2], parts[1::2], strict=True))
            case 4:
                return self._classes[body[1]].model_validate_json(json.dumps(body[2]))
            case 5:
                return self._unpack_object(self._classes[body[1]], body)
            case 6:
                return self._seen[body[1]]
        raise BadState(f"no mark {body[0]!r}")

    def _unpack_all(self, body: list[Any], first: int) -> list[Any]:
        return [self.unpack(part) if type(part) is list else part for part in body[first:]]

    def _unpack_object(self, kind: type, body: list[Any]) -> Any:
        if issubclass(kind, tuple):
            return kind(*self._unpack_all(body, 2))
        made = object.__new__(kind)
        self._seen.append(made)
        names, defaults = members_of(kind)
        held = self._unpack_all(body, 2)
        missing = defaults[len(held) :]
        if missing and missing[0] is NOTHING:
            raise BadState(f"a {kind.__qualname__} that is not whole")
        for name, part in zip(names, (*held, *missing), strict=True):
            setattr(made, name, part)
        return made


@cache
def members_of(kind: type) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Name what an object of the view's classes holds (a dataclass's fields, or its slots), and what it has of them
    by default, `NOTHING` where it has to be given.
    """
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        defaults = (NOTHING if each.default is dataclasses.MISSING else each.default for each in fields)
        return tuple(each.name for each in fields), tuple(defaults)
    if hasattr(kind, "__slots__"):
        return tuple(kind.__slots__), (NOTHING,) * len(kind.__slots__)
    raise BadState(f"{kind.__qualname__} names nothing that it holds")


def _same(value: Any, default: Any) -> bool:
    return type(value) in CONSTANT and type(value) is type(default) and value == default


def _class_named(name: str) -> type:
    module, _, qualname = name.partition(":")
    if not name.startswith(PACKAGES):
        raise BadState(f"a {name} in the state")
    found = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found
