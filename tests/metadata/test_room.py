"""What clients may take of a node: who is refused, who is cut, and that all is given back."""

import attrs

from quorate.metadata.room import Limits, Room


@attrs.define(eq=False)
class Client:
    """A connection, as the room sees it."""

    unread_bytes: int = 0
    why: str | None = None

    def cut(self, why: str) -> None:
        self.why = why


def entering(room: Room, address: str) -> Client:
    assert room.refusal(address) is None
    client = Client()
    room.enter(client, address)
    return client


def test_all_connections_together_are_limited_and_the_first_refusal_is_told() -> None:
    room = Room(Limits(connections=2))
    first = entering(room, "a")
    entering(room, "b")
    refusals = [room.refusal("c") for _ in range(3)]
    assert [(one.limit, one.first) for one in refusals if one is not None] == [
        (2, True),
        (2, False),
        (2, False),
    ]

    room.leave(first)
    entering(room, "c")
    again = room.refusal("c")
    assert again is not None
    assert again.first


def test_one_address_does_not_take_the_place_of_others() -> None:
    room = Room(Limits(connections_per_address=2))
    greedy = [entering(room, "a") for _ in range(2)]
    refusals = [room.refusal("a") for _ in range(2)]
    assert [one.first for one in refusals if one is not None] == [True, False]
    entering(room, "b")

    room.leave(greedy[0])
    entering(room, "a")
    assert room.refusal("a") is not None
    assert room.connections == 3


def test_connections_that_come_too_fast_wait() -> None:
    room = Room(Limits(connections_per_second=10))
    assert room.wait_ms(1_000) == 0
    for _ in range(10):
        assert room.wait_ms(1_000) == 0
        room.refusal("a")
    waited = room.wait_ms(1_000)
    assert 90 <= waited <= 101
    assert room.wait_ms(1_000 + waited) == 0
    for _ in range(11):  # a quiet hour is worth one second, not an hour
        room.wait_ms(3_601_000)
        room.refusal("a")
    assert room.wait_ms(3_601_000) > 0


def test_who_reads_least_is_cut_when_all_leave_too_much_unread() -> None:
    room = Room(Limits(unread_bytes_of_all=100))
    slow, other = entering(room, "a"), entering(room, "b")
    room.hold(slow, 60)
    room.hold(other, 40)
    assert (slow.why, other.why) == (None, None)
    room.hold(other, 1)
    assert slow.why is not None
    assert "60 bytes of answers unread" in slow.why
    assert other.why is None

    room.leave(slow)
    room.took(other, 41)
    assert (room.unread_bytes, other.unread_bytes) == (0, 0)
    room.hold(other, 100)
    assert other.why is None
