"""The private WebSocket: one signed login, then a snapshot and every change of the channels asked for."""

import asyncio
import time
from typing import Annotated, Literal

import orjson
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import Field, TypeAdapter, ValidationError

from schemas import signing
from schemas.base import Model
from schemas.ids import Identifier
from services.gateway.commands.dead_man import DeadMan
from services.gateway.context import GatewayContext
from services.gateway.domain import words_of
from services.gateway.projections.feeds import Session
from services.gateway.routes.authorize import spend
from services.kit.addresses import client_address
from services.kit.auth import Caller, check_scope
from services.kit.http import ProblemError
from services.kit.rows import show_rows
from services.kit.sockets import next_message

PATH = "/v1/ws"
CLOSE_NORMAL, CLOSE_LOGIN, CLOSE_SLOW = 1000, 4401, 4408
ITEMS_PER_TOKEN = 50  # a long snapshot costs as much of the budget as many messages
Channel = Literal["orders", "fills", "positions", "balances", "settlements"]


class Login(Model):
    """The first message: what the four headers of a signed `GET /v1/ws` would say."""

    op: Literal["login"]
    key: str
    ts_ms: str
    nonce: str
    signature: str


class Subscribe(Model):
    """Asks for channels; each answers with a snapshot first."""

    op: Literal["subscribe"]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]


class Unsubscribe(Model):
    """Ends channels."""

    op: Literal["unsubscribe"]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]


class Ping(Model):
    """Asks for a sign of life."""

    op: Literal["ping"]


class CancelOnDisconnect(Model):
    """Asks for a dead-man timer: everything of the account is cancelled `timeout_s` after the connection is gone.

    A session that connects again under the same name in time takes it over.
    """

    op: Literal["cancel_on_disconnect"]
    timeout_s: Annotated[int, Field(ge=3, le=3_600)]
    session: Identifier | None = None


class Logout(Model):
    """A polite end: the timer is disarmed, the connection closed."""

    op: Literal["logout"]


Message = Subscribe | Unsubscribe | Ping | CancelOnDisconnect | Logout
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="op")])


class PrivateSocket:
    """Serves one connection after the other's login."""

    def __init__(self, gateway: GatewayContext):
        self._gateway = gateway

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends."""
        await socket.accept()
        try:
            caller = await self._login(socket)
        except TimeoutError:
            return await _refuse(socket, "unsigned_request", "the first message is a login, and comes soon")
        except ValidationError as error:
            return await _refuse(socket, "unsigned_request", f"the first message is a login: {words_of(error)}")
        except ProblemError as error:
            return await _refuse(socket, error.code, error.detail)
        except WebSocketDisconnect:
            return
        session = Session(caller.account, caller.key_id, self._gateway.settings.feed_queue_max)
        self._gateway.feeds.join(session)
        try:
            session.put(seq := self._gateway.history.seq, f'{{"op":"login","account":"{caller.account}","seq":{seq}}}')
            await self._talk(socket, session, caller)
        finally:
            self._gateway.feeds.leave(session)

    async def _login(self, socket: WebSocket) -> Caller:
        async with asyncio.timeout(self._gateway.settings.feed_login_s):
            login = Login.model_validate_json(await next_message(socket))
        if waiting := self._gateway.readiness.waiting:
            raise ProblemError("unavailable", f"the gateway waits for {', '.join(waiting)}", retryable=True)
        fields = (
            (signing.KEY_HEADER, login.key),
            (signing.TIMESTAMP_HEADER, login.ts_ms),
            (signing.NONCE_HEADER, login.nonce),
            (signing.SIGNATURE_HEADER, login.signature),
        )
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in fields]
        client = client_address(socket.scope)
        caller = self._gateway.auth.verify("GET", PATH, "", b"", headers, client)
        check_scope(caller, "read")
        sessions_max = self._gateway.settings.sessions_per_key_max
        if self._gateway.feeds.sessions_of(caller.key_id) >= sessions_max:
            raise ProblemError("too_many_requests", f"the key has {sessions_max} sessions already", retryable=True)
        return caller

    async def _talk(self, socket: WebSocket, session: Session, caller: Caller) -> None:
        dead_man = DeadMan(self._gateway, session, caller)
        works = (
            self._hear(socket, session, caller, dead_man),
            self._send(socket, session),
            self._beat(session),
            dead_man.run(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        overrun = asyncio.create_task(session.overrun.wait())
        key_end = asyncio.create_task(self._gateway.directory.wait_for_end(caller.key_id))
        try:
            await asyncio.wait([*tasks, overrun, key_end], return_when=asyncio.FIRST_COMPLETED)
            if overrun.done():
                await socket.close(CLOSE_SLOW, f"slow_reader seq={session.sent_seq}")
            elif key_end.done():
                for task in tasks:
                    task.cancel()
                await _refuse(socket, "key_ended", "the key was revoked or has expired")
        finally:
            for task in (*tasks, overrun, key_end):
                task.cancel()
            results = await asyncio.gather(*tasks, overrun, key_end, return_exceptions=True)
        # A client may go at any moment; any other end is a programmer's error.
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, RuntimeError)):
                raise result

    async def _hear(self, socket: WebSocket, session: Session, caller: Caller, dead_man: DeadMan) -> None:
        while True:
            text = await next_message(socket)
            try:
                spend(self._gateway.message_budget, caller)
                message = MESSAGE.validate_json(text)
                if isinstance(message, Logout):
                    await dead_man.disarm()
                    return await socket.close(CLOSE_NORMAL, "logout")
                self._handle(session, caller, dead_man, message)
            except ValidationError as error:
                self._complain(session, "malformed_request", words_of(error))
            except ProblemError as problem:
                self._complain(session, problem.code, problem.detail)
                # Nothing more is read until the budget has something again: a flood waits at its sender's.
                await asyncio.sleep(self._gateway.message_budget.wait_s(caller.key_id))

    def _handle(self, session: Session, caller: Caller, dead_man: DeadMan, message: Message) -> None:
        match message:
            case Subscribe():
                items = self._subscribe(session, tuple(dict.fromkeys(message.channels)))
                self._gateway.message_budget.owe(caller.key_id, len(message.channels) - 1 + items // ITEMS_PER_TOKEN)
            case Unsubscribe():
                session.channels.difference_update(message.channels)
                session.put(self._gateway.history.seq, '{"op":"unsubscribed"}')
            case Ping():
                session.put(self._gateway.history.seq, f'{{"op":"pong","ts_ns":"{time.time_ns()}"}}')
            case CancelOnDisconnect():
                if not {"trade", "operate"} & caller.scopes:
                    raise ProblemError("scope_missing", "the key may not trade")
                dead_man.arm(message.timeout_s, message.session)

    def _complain(self, session: Session, code: str, detail: str) -> None:
        session.put(self._gateway.history.seq, _error_text(code, detail))

    async def _send(self, socket: WebSocket, session: Session) -> None:
        while True:
            session.sent_seq, text = await session.queue.get()
            await socket.send_text(text)

    async def _beat(self, session: Session) -> None:
        while True:
            seq = self._gateway.history.seq
            session.put(seq, f'{{"ch":"hb","seq":{seq},"ts_ns":"{time.time_ns()}"}}')
            await asyncio.sleep(self._gateway.settings.feed_heartbeat_s)

    def _subscribe(self, session: Session, channels: tuple[Channel, ...]) -> int:
        """Queue a snapshot of each channel; return how many items they have."""
        # No await between snapshot and subscription: the next message is the first event after `seq`.
        count = 0
        for channel in channels:
            seq = self._gateway.history.seq
            items = self._snapshot(session.account, channel)
            session.put(seq, f'{{"ch":"{channel}","type":"snapshot","seq":{seq},"data":[{",".join(items)}]}}')
            session.channels.add(channel)
            count += len(items)
        return count

    def _snapshot(self, account: str, channel: Channel) -> tuple[str, ...]:
        history, views = self._gateway.history, self._gateway.views
        match channel:
            case "orders":
                own = (order for order in history.open_orders_of(account) if not order.parent_id)
                return show_rows(own, lambda order: views.order(order).model_dump_json())
            case "positions":
                own = history.positions_held_by(account)
                return show_rows(own, lambda position: views.position(position, account).model_dump_json())
            case "balances":
                own = history.balances_of(account)
                return show_rows(own, lambda balance: views.balance(balance).model_dump_json())
        return ()


async def _refuse(socket: WebSocket, code: str, detail: str) -> None:
    """Say why there is no session, and close."""
    await socket.send_text(_error_text(code, detail))
    await socket.close(CLOSE_LOGIN, code)


def _error_text(code: str, detail: str) -> str:
    return orjson.dumps({"op": "error", "code": code, "detail": detail[:500]}).decode()
