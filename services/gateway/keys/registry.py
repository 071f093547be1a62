"""Publishes keys, tokens and their ends, each with the signed request that it follows from."""

import asyncio

from fastapi import Request

from schemas.accounts import AnyKeyEvent, ApiKeySet
from services.gateway.context import GatewayContext
from services.kit.auth import signed_request_of
from services.kit.http import ProblemError
from services.kit.key_requests import UnprovenRecord

NOT_YET = "Kafka does not answer: what was asked for is kept, and becomes known when it does"


class KeyRegistry:
    """One record after the other: each is checked, published, and taken into the gateway's own directory."""

    def __init__(self, gateway: GatewayContext):
        self._gateway = gateway
        self._turn = asyncio.Lock()

    def check(self, record: AnyKeyEvent) -> None:
        """Raise `scope_missing` where no edge would believe the record."""
        try:
            self._gateway.directory.check(record)
        except UnprovenRecord as error:
            raise ProblemError("scope_missing", str(error)) from error

    async def publish(self, record: AnyKeyEvent) -> None:
        """Publish a record that every edge will believe. Raises `scope_missing`, `unavailable`, DatabaseAway."""
        try:
            await self._publish(record)
        except UnprovenRecord as error:
            raise ProblemError("scope_missing", str(error)) from error

    async def try_to_publish(self, record: AnyKeyEvent) -> bool:
        """Publish a record unless one came before it after which no edge would believe it; say which it was."""
        try:
            await self._publish(record)
        except UnprovenRecord:
            return False
        return True

    async def _publish(self, record: AnyKeyEvent) -> None:
        async with self._turn:
            self._gateway.directory.check(record)
            await self._gateway.store.publish(record)
            self._gateway.directory.take(record)
            await self._gateway.key_file.keep([record])
        try:
            async with asyncio.timeout(self._gateway.settings.answer_timeout_s):
                await self._gateway.publisher.published()
        except TimeoutError as error:
            raise ProblemError("unavailable", NOT_YET, retryable=True) from error

    async def publish_again(self, records: list[AnyKeyEvent]) -> list[AnyKeyEvent]:
        """Publish what a copy has and the topic has lost, with one wait for the broker; return what no edge would
        believe. A record may need another one of them first.
        """
        left, proven, before = records, [], -1
        async with self._turn:
            while len(proven) > before:
                before, tried, left = len(proven), left, []
                for record in tried:
                    (proven if self._is_proven(record) else left).append(record)
            if proven:
                await self._gateway.store.publish_all(proven)
                await self._gateway.key_file.keep(proven)
        if proven:
            await self._gateway.publisher.published()
        return left

    def _is_proven(self, record: AnyKeyEvent) -> bool:
        """Take a record into the directory if it is proven, without a word where it is not."""
        try:
            self._gateway.directory.check(record)
        except UnprovenRecord:
            return False
        return self._gateway.directory.take(record)

    async def end(self, known: ApiKeySet, request: Request) -> ApiKeySet:
        """End a key as a request asks for it; again, nothing is published."""
        ended = known.model_copy(update={"revoked": True})
        record = ended.model_copy(update={"proof": signed_request_of(request, await request.body())})
        self.check(record)
        if not known.revoked:
            await self.publish(record)
        return ended
