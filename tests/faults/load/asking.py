"""How the load asks: an answer that binds the exchange, or None; whoever gets None asks again."""

from collections import Counter
from typing import Any

import httpx

UNBOUND = (202, 429, 500, 502, 503, 504)
BEFORE_THE_RESTART = "timestamp_outside_window"

unbound: Counter[str] = Counter()
broken: list[str] = []  # answers that no service may give, whatever was killed


async def ask(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response | None:
    """Returns the response, None where nobody knows (no answer, 202) or nothing was done (429, 5xx, a stale stamp)."""
    try:
        response = await client.request(method, path, **options)
    except httpx.TransportError as error:
        unbound[type(error).__name__] += 1
        return None
    if response.status_code >= 500 and not (response.status_code == 503 and code_of(response)):
        broken.append(f"{method} {path} was answered with {response.status_code} {response.text[:300]}")
    if response.status_code in UNBOUND or code_of(response) == BEFORE_THE_RESTART:
        unbound[f"{response.status_code} {code_of(response)}".strip()] += 1
        return None
    return response


def code_of(response: httpx.Response) -> str:
    """Returns a problem's code, "" for everything else."""
    if not response.is_error:
        return ""
    try:
        return response.json().get("code", "")
    except ValueError:
        return ""
