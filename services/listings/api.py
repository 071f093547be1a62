"""The HTTP side of listings: everyone reads the board, sellers list, buyers take, an arbiter decides."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from schemas.listings import (
    DecisionForm,
    InspectionForm,
    ListingForm,
    ListingPage,
    ListingState,
    ListingView,
    ReasonForm,
    ShipmentForm,
)
from services.kit.auth import Authenticator, Caller, public
from services.kit.http import ProblemError, problem_response
from services.kit.idempotency import Asked, asking
from services.kit.inputs import read_number
from services.kit.rows import show_rows
from services.kit.store import AWAY, Pool
from services.listings.domain import ListingError
from services.listings.sales import Sales
from services.listings.settings import Settings
from services.listings.store import UnknownListing, listing_of, transaction
from services.listings.views import view_of

STATUS = {"bad_inspection": 422, "not_listable": 422, "wrong_state": 409, "already_bought": 409, "not_yours": 403}
ARBITERS = {"arbiter", "admin"}


def add_routes(app: FastAPI, settings: Settings, pool: Pool, sales: Sales, authenticator: Authenticator) -> None:
    """Adds the service's routes to the application."""
    _add_reading(app, settings, pool, authenticator)
    _add_selling(app, sales, authenticator)
    _add_buying(app, sales, authenticator)
    _add_disputes(app, sales, authenticator)


def _add_reading(app: FastAPI, settings: Settings, pool: Pool, authenticator: Authenticator) -> None:
    reader = Annotated[Caller, Depends(authenticator.require("read"))]
    rows_max = settings.listings_page_rows_max

    @app.get("/v1/listings")
    @public
    async def page(
        cursor: str | None = None,
        state: ListingState | None = None,
        limit: Annotated[int, Query(ge=1, le=rows_max)] = 50,
    ) -> ListingPage:
        """The hardware board, newest first."""
        async with transaction(pool) as store:
            rows = await store.page(_number(cursor), state, limit + 1)
        return ListingPage(
            listings=show_rows(rows[:limit], lambda row: view_of(listing_of(row))),
            cursor=str(rows[limit - 1]["number"]) if len(rows) > limit else None,
        )

    @app.get("/v1/listings/{listing_id}")
    @public
    async def one(listing_id: str) -> ListingView:
        """One listing, as everyone may see it."""
        async with transaction(pool) as store:
            return view_of(await store.get(listing_id))

    @app.get("/v1/sales/{listing_id}")
    async def sale(listing_id: str, caller: reader) -> ListingView:
        """One listing with its history, as its seller, its buyer and an arbiter see it."""
        async with transaction(pool) as store:
            listing, steps = await store.get(listing_id), await store.steps(listing_id)
        return view_of(listing, caller.account, steps, is_arbiter=bool(ARBITERS & caller.scopes))


def _add_selling(app: FastAPI, sales: Sales, authenticator: Authenticator) -> None:
    seller = Annotated[Asked, Depends(asking(authenticator, "sell_hw"))]

    @app.post("/v1/listings", status_code=201, response_model=ListingView)
    async def create(form: ListingForm, asked: seller) -> Response:
        """Lists hardware; it is LOCKING until the engine has taken the GPUs off the rental market."""
        return await sales.create(asked.attempt, form)

    @app.post("/v1/listings/{listing_id}/ship", response_model=ListingView)
    async def ship(listing_id: str, form: ShipmentForm, asked: seller) -> Response:
        """The seller sent the goods."""
        return await sales.step(asked.attempt, "ship", listing_id, f"{form.carrier} {form.tracking}")

    @app.post("/v1/listings/{listing_id}/returned", response_model=ListingView)
    async def returned(listing_id: str, asked: seller) -> Response:
        """The seller has the goods back: the buyer is refunded."""
        return await sales.step(asked.attempt, "returned", listing_id)

    @app.post("/v1/listings/{listing_id}/withdraw", response_model=ListingView)
    async def withdraw(listing_id: str, asked: seller) -> Response:
        """The seller no longer offers the goods."""
        return await sales.step(asked.attempt, "withdraw", listing_id)


def _add_buying(app: FastAPI, sales: Sales, authenticator: Authenticator) -> None:
    buyer = Annotated[Asked, Depends(asking(authenticator, "trade"))]

    @app.post("/v1/listings/{listing_id}/buy", response_model=ListingView)
    async def buy(listing_id: str, asked: buyer) -> Response:
        """Takes the listing at its price; it is FUNDING until the money is held."""
        return await sales.step(asked.attempt, "buy", listing_id)

    @app.post("/v1/listings/{listing_id}/cancel", response_model=ListingView)
    async def cancel(listing_id: str, asked: buyer) -> Response:
        """The buyer changed his mind before the goods were shipped: he is refunded."""
        return await sales.step(asked.attempt, "cancel", listing_id)

    @app.post("/v1/listings/{listing_id}/receive", response_model=ListingView)
    async def receive(listing_id: str, asked: buyer) -> Response:
        """The goods arrived; the inspection period begins."""
        return await sales.step(asked.attempt, "receive", listing_id)

    @app.post("/v1/listings/{listing_id}/inspection", response_model=ListingView)
    async def inspect(listing_id: str, form: InspectionForm, asked: buyer) -> Response:
        """The buyer's own machine looked at the goods: the difference to what was listed."""
        return await sales.inspect(asked.attempt, listing_id, form)

    @app.post("/v1/listings/{listing_id}/accept", response_model=ListingView)
    async def accept(listing_id: str, asked: buyer) -> Response:
        """The buyer is content: the seller is paid."""
        return await sales.step(asked.attempt, "accept", listing_id)

    @app.post("/v1/listings/{listing_id}/reject", response_model=ListingView)
    async def reject(listing_id: str, form: ReasonForm, asked: buyer) -> Response:
        """The buyer does not want the goods, and is to send them back."""
        return await sales.step(asked.attempt, "reject", listing_id, form.reason)

    @app.post("/v1/listings/{listing_id}/return", response_model=ListingView)
    async def send_back(listing_id: str, form: ShipmentForm, asked: buyer) -> Response:
        """The buyer sent rejected goods back."""
        return await sales.step(asked.attempt, "return", listing_id, f"{form.carrier} {form.tracking}")


def _add_disputes(app: FastAPI, sales: Sales, authenticator: Authenticator) -> None:
    party = Annotated[Asked, Depends(asking(authenticator, "trade", "sell_hw"))]
    arbiter = Annotated[Asked, Depends(asking(authenticator, "arbiter"))]

    @app.post("/v1/listings/{listing_id}/dispute", response_model=ListingView)
    async def dispute(listing_id: str, form: ReasonForm, asked: party) -> Response:
        """A party of a sale calls the arbiter."""
        return await sales.step(asked.attempt, "dispute", listing_id, form.reason)

    @app.post("/v1/listings/{listing_id}/decide", response_model=ListingView)
    async def decide(listing_id: str, form: DecisionForm, asked: arbiter) -> Response:
        """The arbiter pays the seller, or refunds the buyer."""
        return await sales.step(asked.attempt, form.outcome, listing_id, form.reason)


def add_error_handlers(app: FastAPI) -> None:
    """Turns the service's errors into problem documents; before the first request, since the stack is built then."""

    @app.exception_handler(ListingError)
    async def on_refusal(request: Request, error: ListingError) -> Response:
        problem = ProblemError(error.code, str(error), STATUS[error.code])
        return problem_response(problem, request.state.request_id)

    @app.exception_handler(UnknownListing)
    async def on_unknown(request: Request, error: UnknownListing) -> Response:
        return problem_response(ProblemError("not_found", f"no listing {error}"), request.state.request_id)

    async def on_away(request: Request, error: Exception) -> Response:
        problem = ProblemError("unavailable", "the database is unavailable, try again", retryable=True)
        return problem_response(problem, request.state.request_id)

    for kind in AWAY:
        app.add_exception_handler(kind, on_away)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    number = read_number(cursor)
    if number is None:
        raise ProblemError("malformed_request", "cursor: not one of ours")
    return number
