"""What several layers ask of one request: its headers by name, and whether its body is here; found once for each."""

from starlette.types import Scope

WHOLE = "is_whole"
HEADERS = "headers_by_name"


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Returns the headers by their names in lower case; of one that stands there twice the last."""
    state = scope.setdefault("state", {})
    headers = state.get(HEADERS)
    if headers is None:
        headers = state[HEADERS] = dict(scope["headers"])
    return headers


def is_whole(scope: Scope) -> bool:
    """Says whether the whole body was here when the request was handed on, so that nobody has to wait for it."""
    return scope["state"].get(WHOLE, False)
