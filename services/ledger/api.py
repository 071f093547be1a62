"""The ledger over HTTP: money in and out, statements, and totals that anyone can check."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request, Response

from schemas.ids import AccountId, Asset
from schemas.money import DecimalString
from schemas.rest import Form
from schemas.venue import Shard
from schemas.vouchers import Programme
from services.kit.auth import Authenticator, Caller, public, refuse_undeclared_routes
from services.kit.bodies import BodyLimits
from services.kit.http import ProblemError, make_app, problem_response
from services.kit.openapi import PENDING, REPEATED
from services.kit.readiness import Readiness
from services.kit.store import DatabaseAway
from services.ledger.requests import Requests
from services.ledger.views import Views

IdempotencyKey = Annotated[str, Header(pattern=r"^[\x21-\x7e]{1,128}$")]
Seq = Annotated[int | None, Query(ge=0, le=2**62)]


class DepositForm(Form):
    """POST /v1/deposits: money that came in for an account."""

    account: AccountId
    asset: Asset
    amount: DecimalString


class ShardTransferForm(Form):
    """POST /v1/shard-transfers: money of the caller's that moves to another shard of the venue."""

    asset: Asset
    amount: DecimalString
    to_shard: Shard


class BudgetForm(Form):
    """POST /v1/programmes/{programme}/fund or …/defund: the issuer's money and the programme's budget."""

    amount: DecimalString


class IssueForm(Form):
    """POST /v1/programmes/{programme}/vouchers: vouchers for a holder."""

    account: AccountId
    amount: DecimalString


class WithdrawalForm(Form):
    """POST /v1/withdrawals: money that the caller takes out."""

    asset: Asset
    amount: DecimalString


def make_ledger_app(
    readiness: Readiness, authenticator: Authenticator, requests: Requests, views: Views, bodies: BodyLimits
) -> FastAPI:
    """Returns the ledger's application."""
    app = make_app("ledger", readiness, bodies)

    @app.exception_handler(DatabaseAway)
    async def on_database_away(request: Request, error: DatabaseAway) -> Response:
        state = "unknown" if request.method == "POST" else "none"
        problem = ProblemError("unavailable", "PostgreSQL does not answer", retryable=True, order_state=state)
        return problem_response(problem, request.state.request_id)

    add_transfer_routes(app, authenticator, requests)
    add_programme_routes(app, authenticator, requests)
    add_reading_routes(app, authenticator, views)
    refuse_undeclared_routes(app)
    return app


def add_transfer_routes(app: FastAPI, authenticator: Authenticator, requests: Requests) -> None:
    """Money in and out: 201 once the engine has decided and the ledger posted, 202 where that is not known yet."""
    Admin = Annotated[Caller, Depends(authenticator.require("admin"))]
    Withdrawer = Annotated[Caller, Depends(authenticator.require("withdraw"))]

    @app.post("/v1/deposits", status_code=201, responses=REPEATED | PENDING)
    async def deposit(
        form: DepositForm, caller: Admin, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Credits an account with money that came in."""
        transfer = ("deposit", form.account, form.asset, form.amount)
        return _answer(response, *await requests.transfer(caller.account, idempotency_key, *transfer))

    @app.post("/v1/withdrawals", status_code=201, responses=REPEATED | PENDING)
    async def withdraw(
        form: WithdrawalForm, caller: Withdrawer, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Debits the caller's account, as far as its money is not held."""
        transfer = ("withdrawal", caller.account, form.asset, form.amount)
        return _answer(response, *await requests.transfer(caller.account, idempotency_key, *transfer))

    @app.post("/v1/shard-transfers", status_code=201, responses=REPEATED | PENDING)
    async def move(
        form: ShardTransferForm, caller: Withdrawer, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Moves money of the caller to another shard; it is in transit until that shard takes it in."""
        moved = await requests.move(caller.account, idempotency_key, form.asset, form.amount, form.to_shard)
        return _answer(response, *moved)


def add_programme_routes(app: FastAPI, authenticator: Authenticator, requests: Requests) -> None:
    """Voucher programmes, for their issuers: budget in and out, vouchers to holders."""
    Issuer = Annotated[Caller, Depends(authenticator.require("withdraw"))]

    @app.post("/v1/programmes/{programme}/fund", status_code=201, responses=REPEATED | PENDING)
    async def fund(
        programme: Programme, form: BudgetForm, caller: Issuer, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Holds money of the issuer's as the programme's budget."""
        wish = ("fund", programme, form.amount)
        return _answer(response, *await requests.programme(caller.account, idempotency_key, *wish))

    @app.post("/v1/programmes/{programme}/defund", status_code=201, responses=REPEATED | PENDING)
    async def defund(
        programme: Programme, form: BudgetForm, caller: Issuer, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Gives the issuer budget back that nobody holds."""
        wish = ("defund", programme, form.amount)
        return _answer(response, *await requests.programme(caller.account, idempotency_key, *wish))

    @app.post("/v1/programmes/{programme}/vouchers", status_code=201, responses=REPEATED | PENDING)
    async def issue(
        programme: Programme, form: IssueForm, caller: Issuer, idempotency_key: IdempotencyKey, response: Response
    ) -> dict[str, Any]:
        """Issues vouchers out of the budget."""
        wish = ("issue", programme, form.amount, form.account)
        return _answer(response, *await requests.programme(caller.account, idempotency_key, *wish))


def add_reading_routes(app: FastAPI, authenticator: Authenticator, views: Views) -> None:
    """Statements for their owners, totals for everyone, all balances for the administrator."""
    Admin = Annotated[Caller, Depends(authenticator.require("admin"))]
    Reader = Annotated[Caller, Depends(authenticator.require("read"))]

    @app.get("/v1/statements")
    async def statement(
        caller: Reader, asset: Asset | None = None, cursor: str | None = None, limit: int = 100
    ) -> dict[str, Any]:
        """The caller's lines, newest first; `cursor` of the answer leads to the next page."""
        return await views.statement(caller.account, asset, cursor, limit)

    @app.get("/v1/claims")
    async def claims(
        caller: Reader,
        cursor: Seq = None,
        limit: Annotated[int, Query(ge=1, le=views.page_lines_max)] = 100,
    ) -> dict[str, Any]:
        """What corrections left owed by the caller or to the caller, newest first: paid by the guarantee, or claims."""
        return await views.claims(caller.account, cursor, limit)

    @app.get("/v1/ledger/trial-balance")
    @public
    async def trial_balance() -> dict[str, Any]:
        """Debits and credits per asset, and what each kind of account holds, at the sequence given."""
        return await views.trial_balance()

    @app.get("/v1/ledger/balances")
    async def balances(caller: Admin, seq: Seq = None) -> dict[str, Any]:
        """All balances in micro-units, now or after event `seq`, to be compared with the engine's."""
        return await views.balances(seq)

    @app.get("/v1/ledger/audit")
    async def audit(caller: Admin) -> dict[str, Any]:
        """Adds all transfers up again, and names the accounts that differ from their sum."""
        return await views.audit()


def _answer(response: Response, body: dict[str, Any], fresh: bool) -> dict[str, Any]:
    if body["state"] == "pending":
        response.status_code = 202
    elif not fresh:
        response.status_code = 200
    if not fresh:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = "/v1/statements"
    return body
