"""How many partitions a client may create and delete: controller_mutation_rate (KIP-599).

Each client has a bucket of permits, one for each partition. It fills at the client's rate, up to so many seconds of
it; an operation takes what it needs as long as the bucket is not empty, and may leave a debt. Versions of an API since
which clients know THROTTLING_QUOTA_EXCEEDED are strict: nothing is taken out of a bucket in debt. For older ones it is
taken all the same, and the client is told for how long to be quiet.

Buckets are not in the log: a new active controller begins with full ones, as Kafka's does.
"""

import math
from typing import Final, TypeAlias

import attrs

from quorate.controller.config import ControllerConfig
from quorate.controller.result import reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.settings import QuotaKey, QuotasImage

RATE: Final = "controller_mutation_rate"
MOST_BUCKETS: Final = 10_000
"""Beyond it those that are full are dropped: they are as good as new. Clients may call themselves anything."""
_LONGEST_MS: Final = 2**31 - 1
_USER: Final = "user"
_CLIENT: Final = "client-id"

BucketKey: TypeAlias = tuple[str, str]
"""(user, client id) who share a bucket; "" where it is not theirs alone."""


@attrs.frozen
class Bucket:
    """Permits at a moment; below 0 is a debt."""

    permits: float
    at_ms: int

    def filled(self, rate: float, most: float, now_ms: int) -> "Bucket":
        gained = rate * max(0, now_ms - self.at_ms) / 1000
        return Bucket(min(most, self.permits + gained), now_ms)


@attrs.define
class Allowance:
    """What one request may take. `strict`: nothing once there is a debt."""

    rate: float = math.inf
    """Permits per second; without a quota there is no end of them."""
    bucket: Bucket = Bucket(math.inf, 0)
    strict: bool = True
    owner: BucketKey | None = None
    throttle_ms: int = 0
    """For how long the client should be quiet: until its debt is paid."""

    def take(self, permits: int) -> None:
        """
        Raises:
            RequestRejected: THROTTLING_QUOTA_EXCEEDED.
        """
        if self.strict and self.bucket.permits < 0:
            self.throttle_ms = self._debt_ms()
            reject(
                ErrorCode.throttling_quota_exceeded,
                f"The throttling quota has been exceeded: {RATE} is {self.rate:g}. Try again in {self.throttle_ms} ms.",
            )
        self.bucket = attrs.evolve(self.bucket, permits=self.bucket.permits - permits)
        if not self.strict and self.bucket.permits < 0:
            self.throttle_ms = self._debt_ms()

    def _debt_ms(self) -> int:
        """At most what an answer can say, however small the rate is."""
        return math.floor(min(-self.bucket.permits / self.rate * 1000 + 0.5, _LONGEST_MS))


class MutationQuotas:
    """The buckets of all clients: soft state of the active controller."""

    def __init__(self, config: ControllerConfig) -> None:
        self._seconds = config.quota_window_num * config.quota_window_size_ms / 1000
        self._buckets: dict[BucketKey, Bucket] = {}
        self._rates: dict[BucketKey, float] = {}

    def allowance(
        self, quotas: QuotasImage, principal: str, client_id: str | None, now_ms: int, *, strict: bool
    ) -> Allowance:
        """What this client may take now."""
        _, _, user = principal.partition(":")
        found = quota_of(quotas, user, client_id or "")
        if found is None:
            return Allowance()
        key, rate = found
        most = rate * self._seconds
        bucket = self._buckets.get(key, Bucket(most, now_ms)).filled(rate, most, now_ms)
        return Allowance(rate, bucket, strict, key)

    def keep(self, allowance: Allowance) -> None:
        """After the request: what it left in the bucket."""
        if allowance.owner is None:
            return
        self._buckets[allowance.owner] = allowance.bucket
        self._rates[allowance.owner] = allowance.rate
        if len(self._buckets) > MOST_BUCKETS:
            self._sweep(allowance.bucket.at_ms)

    def __len__(self) -> int:
        return len(self._buckets)

    def _sweep(self, now_ms: int) -> None:
        for key, bucket in list(self._buckets.items()):
            rate = self._rates[key]
            most = rate * self._seconds
            if bucket.filled(rate, most, now_ms).permits >= most:
                self._drop(key)
        for key in sorted(self._buckets, key=lambda one: self._buckets[one].at_ms)[:-MOST_BUCKETS]:
            self._drop(key)

    def _drop(self, key: BucketKey) -> None:
        del self._buckets[key], self._rates[key]


def quota_of(quotas: QuotasImage, user: str, client_id: str) -> tuple[BucketKey, float] | None:
    """The most specific quota that applies (KIP-546's order), and who shares its bucket."""
    both, of_user, of_client = (user, client_id), (user, ""), ("", client_id)
    places: tuple[tuple[QuotaKey, BucketKey], ...] = (
        (((_CLIENT, client_id), (_USER, user)), both),
        (((_CLIENT, None), (_USER, user)), both),
        (((_USER, user),), of_user),
        (((_CLIENT, client_id), (_USER, None)), both),
        (((_CLIENT, None), (_USER, None)), both),
        (((_USER, None),), of_user),
        (((_CLIENT, client_id),), of_client),
        (((_CLIENT, None),), of_client),
    )
    for entity, key in places:
        rate = quotas.of(entity).get(RATE)
        if rate is not None:
            return key, rate
    return None
