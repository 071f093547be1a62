"""What was asked of the gateway under idempotency keys, as the signed requests on `keys.events` say it."""

from collections.abc import Callable

from schemas.accounts import AnyKeyEvent, ApiKeySet, SignedRequest
from services.kit.http import ProblemError
from services.kit.idempotency import USED, Attempt, attempt
from services.kit.key_directory import KeyDirectory
from services.kit.key_requests import asked_for


class KeysAskedFor(KeyDirectory):
    """A directory of keys that also knows which record followed from which request, whatever became of the tables."""

    def __init__(self, root_public_key: str | None = None):
        super().__init__(root_public_key)
        self._followed: dict[tuple[str, str], AnyKeyEvent] = {}

    def take(self, event: AnyKeyEvent) -> bool:
        """Take a record as a directory does, and remember the request that it followed from."""
        is_proven = super().take(event)
        if is_proven and isinstance(event.proof, SignedRequest) and event.proof.idempotency_key and self._made(event):
            signer = self.get(event.proof.key_id)
            self._followed.setdefault((signer.account, event.proof.idempotency_key), event)
        return is_proven

    def _made(self, event: AnyKeyEvent) -> bool:
        """Say whether a record made something: an id that stands for another key already it does not change."""
        if event.proof.method != "POST":
            return False
        return not isinstance(event, ApiKeySet) or self.get(event.key_id) == event.model_copy(update={"proof": None})

    def first_under(self, asked: Attempt, body_of: Callable[[str], bytes] = str.encode) -> AnyKeyEvent | None:
        """Return the record that followed from the first request under an idempotency key.

        `body_of` gives the bytes by which a body is known. Raises ProblemError `conflict` for another request.
        """
        record = self._followed.get((asked.account, asked.key))
        if record is not None:
            route, body = " ".join(asked_for(record.proof)), body_of(record.proof.body)
            if attempt(asked.account, asked.key, route, body) != asked:
                raise ProblemError("conflict", USED)
        return record
