"""Request budgets: a token bucket for each API key or address and kind of request, and the headers that tell of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from services.kit.http import ProblemError

BUCKETS_MAX = 50_000


@dataclass(slots=True)
class Bucket:
    """Tokens left at a moment."""

    tokens: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key has left after one request, or how long it has to wait."""

    allowed: bool
    headers: dict[str, str]


def too_many_at_once(words: str) -> ProblemError:
    """Returns the refusal of a request beside which too many others are under way."""
    return ProblemError("too_many_requests", words, retryable=True, headers={"Retry-After": "1"})


class Budget:
    """One kind of request: so many a second, and `burst_s` seconds' worth at once."""

    def __init__(self, name: str, per_s: float, burst_s: float, clock: Callable[[], float] = monotonic):
        self._name, self._per_s, self._clock = name, per_s, clock
        self._capacity = max(1, round(per_s * burst_s))
        self._buckets: dict[str, Bucket] = {}
        self._policy = f'"{name}";q={self._capacity};w={max(1, math.ceil(self._capacity / per_s))}'

    def require(self, key_id: str, words: str, tokens: int = 1) -> dict[str, str]:
        """Takes tokens and returns the headers that tell of it. Raises `too_many_requests`."""
        standing = self.take(key_id, tokens)
        if not standing.allowed:
            raise ProblemError("too_many_requests", words, retryable=True, headers=standing.headers)
        return standing.headers

    def check(self, key_id: str, words: str) -> None:
        """Takes nothing, so that anybody may ask. Raises `too_many_requests` where there is nothing left to take."""
        if key_id in self._buckets and (bucket := self._bucket(key_id)).tokens < 1:
            raise ProblemError("too_many_requests", words, retryable=True, headers=self._told(bucket, lacks=1))

    def owe(self, key_id: str, tokens: int) -> None:
        """Takes tokens for what is done already, whether there are so many or not."""
        self._bucket(key_id).tokens -= tokens

    def wait_s(self, key_id: str) -> float:
        """Says how long it takes until the key has a token."""
        return max(0.0, (1 - self._bucket(key_id).tokens) / self._per_s)

    def take(self, key_id: str, tokens: int = 1) -> Standing:
        """Takes tokens of the key, if there are so many; none may be taken of a budget that is in debt, too."""
        bucket = self._bucket(key_id)
        allowed = not tokens or bucket.tokens >= tokens
        if allowed:
            bucket.tokens -= tokens
        return Standing(allowed, self._told(bucket, 0 if allowed else tokens))

    def _told(self, bucket: Bucket, lacks: int) -> dict[str, str]:
        """Returns the headers that tell of a bucket; `lacks` is what it had too little for, 0 where it had enough."""
        full_in_s = math.ceil((self._capacity - bucket.tokens) / self._per_s)
        headers = {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{self._name}";r={int(bucket.tokens)};t={full_in_s}',
        }
        if lacks:
            headers["Retry-After"] = str(max(1, math.ceil((lacks - bucket.tokens) / self._per_s)))
        return headers

    def _bucket(self, key_id: str) -> Bucket:
        """Returns the key's bucket, filled up to now."""
        now_s = self._clock()
        bucket = self._buckets.get(key_id)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._forget_full(now_s)
            bucket = self._buckets[key_id] = Bucket(self._capacity, now_s)
        bucket.tokens = min(self._capacity, bucket.tokens + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        return bucket

    def _forget_full(self, now_s: float) -> None:
        """Drops the buckets that are full by now, which are as good as none; all of them where none is."""
        spent = {
            key_id: bucket
            for key_id, bucket in self._buckets.items()
            if bucket.tokens + (now_s - bucket.at_s) * self._per_s < self._capacity
        }
        self._buckets = spent if len(spent) < BUCKETS_MAX else {}


class EitherBudget:
    """Budgets for a request that is taken from one, the other or both: which, only its body says."""

    def __init__(self, *budgets: Budget):
        self._budgets = budgets

    def check(self, key_id: str, words: str) -> None:
        """Takes nothing. Raises `too_many_requests` where none of them has anything left."""
        refusals = []
        for budget in self._budgets:
            try:
                return budget.check(key_id, words)
            except ProblemError as refusal:
                refusals.append(refusal)
        raise refusals[0]
