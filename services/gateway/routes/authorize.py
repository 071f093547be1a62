"""Who asks: the one check of a request's signature, budget and scope that stands before everything else."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response

from schemas.accounts import Scope
from services.gateway.context import GatewayContext
from services.kit.auth import SPENT, Caller, check_scope, read_signing_headers
from services.kit.limits import Budget, EitherBudget

TRADERS: tuple[Scope, ...] = ("trade", "operate")


@dataclass(slots=True)
class RequestContext:
    """One request on its way: who asks, what came and when, and the headers of its answer so far."""

    caller: Caller
    request: Request
    body: bytes
    gateway_in_ns: int
    headers: dict[str, str]


async def authorize(
    gateway: GatewayContext, request: Request, budget: Budget | EitherBudget, *scopes: Scope
) -> RequestContext:
    """Check the signature of a request, take it off the key's budget, and require one of the scopes, in this order.

    A key that has spent its budget hears so before its signature costs anything. Of two budgets nothing is taken: a
    batch says in its form what it costs of each. Without scopes none is required: a placed order says in its form
    which one.
    """
    gateway_in_ns, body = time.time_ns(), await request.body()
    caller = gateway.auth.verify_request(request, body, budget)
    headers = {} if isinstance(budget, EitherBudget) else spend(budget, caller)
    if scopes:
        require_scope(caller, *scopes)
    return RequestContext(caller, request, body, gateway_in_ns, headers)


def spend(budget: Budget, caller: Caller, requests: int = 1) -> dict[str, str]:
    """Take requests off the caller's budget; return the headers that say so. Raises `too_many_requests`."""
    return budget.require(caller.key_id, SPENT, requests)


def require_scope(caller: Caller, *scopes: Scope) -> None:
    """Require one of the scopes; what a caller lacks is named by the first of them."""
    if caller.scopes.isdisjoint(scopes):
        check_scope(caller, scopes[0])


def caller_with(gateway: GatewayContext, scope: Scope | None) -> Callable[[Request, Response], Awaitable[Caller]]:
    """Return the FastAPI dependency of a route that needs `scope`, or any key, and is paid from the budget of reads."""

    async def caller(request: Request, response: Response) -> Caller:
        found = gateway.auth.verify_request(request, await request.body(), gateway.read_budget)
        if scope is not None:
            check_scope(found, scope)
        response.headers.update(spend(gateway.read_budget, found))
        return found

    caller.declares_scope = True
    return caller


def caller_if_known(gateway: GatewayContext) -> Callable[[Request, Response], Awaitable[Caller | None]]:
    """Return the FastAPI dependency of a route that new keys may call as well: it yields the caller, or None where
    nobody knows the key, whose signature the route checks itself.
    """
    any_caller = caller_with(gateway, None)

    async def caller(request: Request, response: Response) -> Caller | None:
        key_id = read_signing_headers(request.scope["headers"])[0]
        return await any_caller(request, response) if gateway.directory.get(key_id) else None

    caller.declares_scope = True
    return caller
