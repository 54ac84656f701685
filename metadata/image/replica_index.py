"""Which topics have replicas on a broker: a bit per chunk of partitions and broker.

Fencing or stopping a broker asks for its replicas; walking two million partitions for it would stop the loop for
seconds. Every chunk of rows (`rows`) has a number, and each broker a set of chunk numbers, kept as pages of 1,024 bits:
one or two bytes per partition in all. The bits are exact: a chunk's bit is cleared when its last replica on the broker
goes. Numbers are a matter of this process (they follow the order in which topics came), so the index takes no part in
comparing images.
"""

import uuid
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

import attrs
from immutables import Map

_PAGE_BITS: Final = 1024


@attrs.frozen(eq=False)
class ReplicaIndex:
    """An immutable index; `ReplicaIndexEdit` makes the next one."""

    EMPTY: ClassVar["ReplicaIndex"]

    pages: Map[int, Map[int, int]] = attrs.field(repr=False)
    """broker -> page -> bits of chunk numbers."""
    topics: Map[int, uuid.UUID] = attrs.field(repr=False)
    """chunk number -> topic."""
    next_number: int

    def chunks_of(self, broker_id: int) -> dict[uuid.UUID, set[int]]:
        """topic -> numbers of its chunks with a replica on the broker, in the order in which the chunks came."""
        found: dict[uuid.UUID, set[int]] = {}
        for number in self._numbers(broker_id):
            found.setdefault(self.topics[number], set()).add(number)
        return found

    def _numbers(self, broker_id: int) -> Iterator[int]:
        pages: Map[int, int] = self.pages.get(broker_id, Map())
        for page in sorted(pages):
            bits = pages[page]
            while bits:
                lowest = bits & -bits
                yield page * _PAGE_BITS + lowest.bit_length() - 1
                bits ^= lowest


ReplicaIndex.EMPTY = ReplicaIndex(Map(), Map(), 0)


class ReplicaIndexEdit:
    """Collects changes, so that each page is written once however many topics come at a time."""

    __slots__ = ("_add", "_base", "_drop", "_forgotten", "_new", "_next_number")

    def __init__(self, base: ReplicaIndex) -> None:
        self._base = base
        self._next_number = base.next_number
        self._new: dict[int, uuid.UUID] = {}
        self._forgotten: list[int] = []
        self._add: dict[tuple[int, int], int] = {}
        self._drop: dict[tuple[int, int], int] = {}

    def new_chunk(self, topic_id: uuid.UUID) -> int:
        """The number of a chunk that did not exist."""
        number = self._next_number
        self._next_number += 1
        self._new[number] = topic_id
        return number

    def forget_chunk(self, number: int, brokers: Iterable[int]) -> None:
        """The chunk is gone; `brokers` held its replicas."""
        self._forgotten.append(number)
        self.drop(number, brokers)

    def add(self, number: int, brokers: Iterable[int]) -> None:
        """These brokers hold replicas of the chunk now."""
        self._mark(self._add, number, brokers)

    def drop(self, number: int, brokers: Iterable[int]) -> None:
        """These brokers hold none any more."""
        self._mark(self._drop, number, brokers)

    @staticmethod
    def _mark(marks: dict[tuple[int, int], int], number: int, brokers: Iterable[int]) -> None:
        page, bit = divmod(number, _PAGE_BITS)
        for broker in brokers:
            key = (broker, page)
            marks[key] = marks.get(key, 0) | 1 << bit

    def finish(self) -> ReplicaIndex:
        return ReplicaIndex(self._pages(), self._topics(), self._next_number)

    def _pages(self) -> Map[int, Map[int, int]]:
        if not self._add and not self._drop:
            return self._base.pages
        by_broker = self._base.pages.mutate()
        for broker, page in self._add | self._drop:
            mine: Map[int, int] = by_broker.get(broker, Map())
            dropped, added = self._drop.get((broker, page), 0), self._add.get((broker, page), 0)
            bits = (mine.get(page, 0) & ~dropped) | added
            if bits:
                mine = mine.set(page, bits)
            elif page in mine:
                mine = mine.delete(page)
            if mine:
                by_broker[broker] = mine
            elif broker in by_broker:
                del by_broker[broker]
        return by_broker.finish()

    def _topics(self) -> Map[int, uuid.UUID]:
        if not self._new and not self._forgotten:
            return self._base.topics
        by_number = self._base.topics.mutate()
        for number in self._forgotten:
            del by_number[number]
        by_number.update(self._new)
        return by_number.finish()
