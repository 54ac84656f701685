"""Where the replicas of new partitions go: striped over brokers and racks.

Pure combinatorics, as in Kafka: no disk, load or replica count of other topics is looked at. The laws:

1. Fenced brokers count toward the replication factor, but never lead and come last within their rack; brokers
   in controlled shutdown are no candidates. At least one candidate must be unfenced.
2. A partition's replicas are different brokers, spread over as many racks as there are, or as it has replicas.
   Brokers without a rack form one rack of their own.
3. Leadership goes around the racks, and every unfenced broker leads once before any leads twice. Kafka walks
   racks and the brokers within them in step; where the two counts share a divisor (3 racks of 3) it comes back
   to the same few leaders until the next shuffle.
4. When every unfenced broker has led once, all orders are drawn anew, so that a broker's followers vary; who has
   followed least comes first, so that they stay even.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected


@attrs.frozen(kw_only=True)
class Candidate:
    """A registered broker that may take replicas."""

    id: int
    rack: str | None
    fenced: bool


def place(
    candidates: Iterable[Candidate],
    *,
    partition_count: int,
    replication_factor: int,
    rng: random.Random,
) -> list[tuple[int, ...]]:
    """The replicas of each partition, the preferred leader first.

    Raises:
        RequestRejected: INVALID_REPLICATION_FACTOR; too few brokers, or all of them fenced.
    """
    brokers = sorted(candidates, key=lambda broker: broker.id)
    _require_enough(brokers, replication_factor)
    stripes = _Stripes(brokers, rng)
    return [stripes.next_partition(replication_factor) for _ in range(partition_count)]


def _require_enough(brokers: list[Candidate], replication_factor: int) -> None:
    why = None
    if replication_factor > len(brokers):
        why = (
            f"The target replication factor of {replication_factor} cannot be reached because only "
            f"{len(brokers)} broker(s) are registered and not shutting down."
        )
    elif all(broker.fenced for broker in brokers):
        why = "All brokers are currently fenced."
    if why is not None:
        raise RequestRejected(
            ErrorCode.invalid_replication_factor,
            f"Unable to replicate the partition {replication_factor} time(s): {why} "
            "Start more brokers or ask for fewer replicas.",
        )


class _Circle:
    """Brokers in a drawn order, the least used first; whoever was taken goes to the end of the queue."""

    def __init__(self, ids: list[int], uses: Counter[int]) -> None:
        self._ids = sorted(ids, key=lambda broker_id: uses[broker_id])
        self._uses = uses

    def take(self, taken: list[int]) -> int | None:
        """The first broker that is not taken yet."""
        for position, broker_id in enumerate(self._ids):
            if broker_id not in taken:
                del self._ids[position]
                self._ids.append(broker_id)
                self._uses[broker_id] += 1
                return broker_id
        return None


class _Rack:
    """The brokers of one rack."""

    def __init__(self, brokers: list[Candidate], uses: Counter[int], rng: random.Random) -> None:
        unfenced = [broker.id for broker in brokers if not broker.fenced]
        fenced = [broker.id for broker in brokers if broker.fenced]
        rng.shuffle(unfenced)
        rng.shuffle(fenced)
        self.leaders = list(unfenced)
        self._circles = (_Circle(unfenced, uses), _Circle(fenced, uses))

    def take(self, taken: list[int]) -> int | None:
        """A replica from this rack, an unfenced one if there is any."""
        for circle in self._circles:
            broker_id = circle.take(taken)
            if broker_id is not None:
                return broker_id
        return None


class _Stripes:
    """Hands out the replicas of one partition after the other."""

    def __init__(self, brokers: list[Candidate], rng: random.Random) -> None:
        self._rng = rng
        self._uses: Counter[int] = Counter()
        """How often each broker was taken as a follower."""
        self._by_rack: dict[str, list[Candidate]] = {}
        # No rack is a rack of its own; rack names are never empty, so "" stands for it.
        for broker in sorted(brokers, key=lambda broker: broker.rack or ""):
            self._by_rack.setdefault(broker.rack or "", []).append(broker)
        self._racks: list[_Rack] = []
        self._turns: Iterator[tuple[int, int]] = iter(())

    def next_partition(self, replication_factor: int) -> tuple[int, ...]:
        turn = next(self._turns, None)
        if turn is None:
            self._racks = [_Rack(brokers, self._uses, self._rng) for brokers in self._by_rack.values()]
            self._turns = _leader_turns(self._racks, first=self._rng.randrange(len(self._racks)))
            turn = next(self._turns)
        leader_rack, leader = turn
        replicas = [leader]
        rack = leader_rack
        # Rounds over the racks; the leader's own comes last in each, so it gives a second replica only when
        # every other rack has given its first (or has none left).
        while len(replicas) < replication_factor:
            rack = (rack + 1) % len(self._racks)
            broker_id = self._racks[rack].take(replicas)
            if broker_id is not None:
                replicas.append(broker_id)
        return tuple(replicas)


def _leader_turns(racks: list[_Rack], first: int) -> Iterator[tuple[int, int]]:
    """(rack, broker) of each leader: once around the racks per round, until each unfenced broker had its turn."""
    for round_number in range(max(len(rack.leaders) for rack in racks)):
        for step in range(len(racks)):
            index = (first + step) % len(racks)
            if round_number < len(racks[index].leaders):
                yield index, racks[index].leaders[round_number]
