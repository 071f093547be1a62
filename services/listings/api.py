"""The HTTP side of listings: everyone reads the board, sellers list, buyers take."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from schemas.listings import (
    ListingForm,
    ListingPage,
    ListingState,
    ListingView,
    RejectionForm,
    ShipmentForm,
)
from schemas.money import format_micros
from services.kit.auth import Authenticator, Caller, public
from services.kit.http import ProblemError, problem_response
from services.kit.inputs import read_number
from services.kit.store import AWAY, Pool
from services.listings.domain import ListingError
from services.listings.sales import Sales
from services.listings.settings import Settings
from services.listings.store import Listing, UnknownListing, transaction

STATUS = {"bad_inspection": 422, "wrong_state": 409, "not_yours": 403}


def add_routes(app: FastAPI, settings: Settings, pool: Pool, sales: Sales, authenticator: Authenticator) -> None:
    """Adds the service's routes to the application."""
    seller = Annotated[Caller, Depends(authenticator.require("sell_hw"))]
    trader = Annotated[Caller, Depends(authenticator.require("trade"))]
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
            listings = await store.page(_number(cursor), state, limit + 1)
        more = len(listings) > limit
        return ListingPage(
            listings=tuple(view(listing) for listing in listings[:limit]),
            cursor=str(listings[limit - 1].number) if more else None,
        )

    @app.get("/v1/listings/{listing_id}")
    @public
    async def one(listing_id: str) -> ListingView:
        """One listing, as everyone may see it."""
        async with transaction(pool) as store:
            return view(await store.get(listing_id))

    @app.get("/v1/sales/{listing_id}")
    async def sale(listing_id: str, caller: reader) -> ListingView:
        """One listing, as its seller and buyer see it."""
        async with transaction(pool) as store:
            return view(await store.get(listing_id), caller.account)

    @app.post("/v1/listings", status_code=201)
    async def create(form: ListingForm, caller: seller) -> ListingView:
        """Lists hardware; it is LOCKING until the engine has taken the GPUs off the rental market."""
        return view(await sales.create(caller.account, form), caller.account)

    @app.post("/v1/listings/{listing_id}/buy")
    async def buy(listing_id: str, caller: trader) -> ListingView:
        """Takes the listing at its price; it is FUNDING until the money is held."""
        return view(await sales.step("buy", caller.account, listing_id), caller.account)

    @app.post("/v1/listings/{listing_id}/ship")
    async def ship(listing_id: str, form: ShipmentForm, caller: seller) -> ListingView:
        """The seller sent the goods."""
        note = f"{form.carrier} {form.tracking}"
        return view(await sales.step("ship", caller.account, listing_id, note), caller.account)

    @app.post("/v1/listings/{listing_id}/receive")
    async def receive(listing_id: str, caller: trader) -> ListingView:
        """The goods arrived; the inspection period begins."""
        return view(await sales.step("receive", caller.account, listing_id), caller.account)

    @app.post("/v1/listings/{listing_id}/accept")
    async def accept(listing_id: str, caller: trader) -> ListingView:
        """The buyer is content: the seller is paid."""
        return view(await sales.step("accept", caller.account, listing_id), caller.account)

    @app.post("/v1/listings/{listing_id}/reject")
    async def reject(listing_id: str, form: RejectionForm, caller: trader) -> ListingView:
        """The buyer sends the goods back."""
        return view(await sales.step("reject", caller.account, listing_id, form.reason), caller.account)

    @app.post("/v1/listings/{listing_id}/returned")
    async def returned(listing_id: str, caller: seller) -> ListingView:
        """The seller has the goods back: the buyer is refunded."""
        return view(await sales.step("returned", caller.account, listing_id), caller.account)

    @app.post("/v1/listings/{listing_id}/withdraw")
    async def withdraw(listing_id: str, caller: seller) -> ListingView:
        """The seller no longer offers the goods."""
        return view(await sales.step("withdraw", caller.account, listing_id), caller.account)


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
        problem = ProblemError("unavailable", "the database is away, try again", retryable=True)
        return problem_response(problem, request.state.request_id)

    for kind in AWAY:
        app.add_exception_handler(kind, on_away)


def view(listing: Listing, account: str | None = None) -> ListingView:
    """Shows a listing; the parties' names only to the two of them."""
    party = account is not None and account in (listing.seller, listing.buyer)
    same = {name: getattr(listing, name) for name in ListingView.model_fields if name in Listing.__dataclass_fields__}
    hidden = {} if party else {"seller": None, "buyer": None, "escrow_id": None}
    return ListingView(**same | hidden, price=format_micros(listing.price_micros))


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    number = read_number(cursor)
    if number is None:
        raise ProblemError("malformed_request", "cursor: not one of ours")
    return number
