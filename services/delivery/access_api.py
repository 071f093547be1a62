"""HTTP for buyers on their way in: SSH keys of the account, wishes for a position, and how to get into a lease."""

from typing import Annotated

from fastapi import Depends, FastAPI, Response

from schemas.access import AccessForm, SshKeyForm, SshKeyView
from schemas.delivery import AccessView
from services.delivery.credentials import CredentialBox
from services.delivery.effects import now_ms
from services.delivery.leases import address_of
from services.delivery.positions import PositionId, RecentPositions, position_of
from services.delivery.rows import Position
from services.delivery.settings import Settings
from services.delivery.ssh_keys import BadSshKey, read_ssh_key
from services.delivery.store import Store, transaction
from services.delivery.store.access import StoredSshKey
from services.kit.auth import Authenticator, Caller
from services.kit.http import ProblemError
from services.kit.idempotency import Asked, asking, once
from services.kit.openapi import REPEATED
from services.kit.rows import show_rows
from services.kit.store import Pool

JSON = "application/json"


def add_key_routes(app: FastAPI, settings: Settings, pool: Pool, authenticator: Authenticator) -> None:
    """Adds the account's SSH keys."""
    trade = Annotated[Caller, Depends(authenticator.require("trade"))]
    keys_max = settings.ssh_keys_max

    @app.post("/v1/ssh-keys", status_code=201, response_model=SshKeyView, responses=REPEATED)
    async def add_key(form: SshKeyForm, asked: Annotated[Asked, Depends(asking(authenticator, "trade"))]) -> Response:
        account = asked.caller.account
        try:
            key = read_ssh_key(form.public_key)
        except BadSshKey as error:
            raise ProblemError("malformed_request", f"public_key: {error}") from error
        async with transaction(pool) as store:
            await store.access.lock_ssh_keys(account)
            known = await store.access.ssh_key(account, key.key_id)

            async def work() -> str:
                if known is not None:
                    return _key_view(known).model_dump_json()
                if len(await store.access.ssh_keys(account)) >= keys_max:
                    raise ProblemError("conflict", f"the account has {keys_max} SSH keys already; remove one first")
                added = StoredSshKey(key.key_id, key.line, now_ms())
                await store.access.insert_ssh_key(account, added)
                return _key_view(added).model_dump_json()

            return await once(store.connection, asked.attempt, work, 201 if known is None else 200)

    @app.get("/v1/ssh-keys")
    async def list_keys(caller: trade) -> dict[str, object]:
        keys = await Store(pool).access.ssh_keys(caller.account)
        return {"items": show_rows(keys, lambda each: _key_view(each).model_dump(mode="json"))}

    @app.delete("/v1/ssh-keys/{key_id}", status_code=204)
    async def remove_key(key_id: str, caller: trade) -> Response:
        """A key that is gone already is as good."""
        await Store(pool).access.delete_ssh_key(caller.account, key_id)
        return Response(status_code=204)


def add_access_routes(
    app: FastAPI, pool: Pool, authenticator: Authenticator, credentials: CredentialBox, recent: RecentPositions
) -> None:
    """Adds what the buyer of a position wishes, and how he gets in."""
    trade = Annotated[Caller, Depends(authenticator.require("trade"))]

    @app.post("/v1/positions/{position_id}/access", response_model=AccessView)
    async def wish(
        position_id: PositionId, form: AccessForm, asked: Annotated[Asked, Depends(asking(authenticator, "trade"))]
    ) -> Response:
        await recent.wait_for(position_id)
        async with transaction(pool) as store:

            async def work() -> str:
                position = await position_of(store, position_id, asked.caller.account)
                if position.state != "open":
                    raise ProblemError("conflict", f"the gate of position {position_id} has passed")
                known = {key.key_id for key in await store.access.ssh_keys(asked.caller.account)}
                if unknown := set(form.key_ids or ()) - known:
                    raise ProblemError("not_found", f"the account has no SSH key {min(unknown)}")
                await store.access.put_wish(position_id, form.key_ids, form.image, form.script)
                # Before the gate there is no credential that the first answer could keep.
                return (await _access_view(store, position, credentials)).model_dump_json()

            answer = await once(store.connection, asked.attempt, work)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @app.get("/v1/positions/{position_id}/access", response_model=AccessView)
    async def show(position_id: PositionId, caller: trade) -> Response:
        await recent.wait_for(position_id)
        store = Store(pool)
        position = await position_of(store, position_id, caller.account)
        return _private(await _access_view(store, position, credentials))


async def _access_view(store: Store, position: Position, credentials: CredentialBox) -> AccessView:
    lease = await store.leases.find(position.lease_id)
    endpoint = "" if lease is None else lease.endpoint
    user, host, port = address_of(endpoint) or ("", "", 0)
    return AccessView(
        position_id=position.position_id,
        simulated=position.simulated,
        lease_id=position.lease_id,
        state="pending" if lease is None else lease.state,
        endpoint=endpoint,
        credential="" if lease is None else credentials.open(lease.lease_id, lease.credential),
        starts_ms=position.start_ms,
        ends_ms=position.end_ms,
        gpus=position.gpus,
        recalls=await store.positions.recalls(position.position_id),
        maintenance=await store.positions.maintenance(position),
        host_key="" if lease is None else lease.host_key,
        user=user,
        host=host,
        port=port,
    )


def _key_view(stored: StoredSshKey) -> SshKeyView:
    key = read_ssh_key(stored.line)
    return SshKeyView(
        key_id=key.key_id,
        fingerprint=key.fingerprint,
        type=key.type,
        comment=key.comment,
        public_key=key.line,
        added_ms=stored.added_ms,
    )


def _private(view: AccessView) -> Response:
    return Response(view.canonical(), 200, {"Cache-Control": "no-store"}, JSON)
