"""Real sockets and the real kernel; what trio did meanwhile is counted, never timed."""

import contextvars
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.poller import LOOKS_AT_MOST, Poller

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files that stand for many")

_PATIENCE_S = 10.0
_told: contextvars.ContextVar[str] = contextvars.ContextVar("told")


class Rounds(trio.abc.Instrument):
    """Of trio's loop, counted."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@contextmanager
def counted() -> Iterator[Rounds]:
    rounds = Rounds()
    trio.lowlevel.add_instrument(rounds)
    try:
        yield rounds
    finally:
        trio.lowlevel.remove_instrument(rounds)


class Pair:
    """Two ends of a connection: the near one is fed from."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.direct = DirectSocket(trio.SocketStream(trio.socket.from_stdlib_socket(self.near)))

    def say(self, data: bytes) -> None:
        assert self.far.send(data) == len(data)


@pytest.fixture
def pairs() -> Iterator[Callable[[], Pair]]:
    made: list[Pair] = []

    def make() -> Pair:
        made.append(Pair())
        return made[-1]

    yield make
    for pair in made:
        pair.near.close()
        pair.far.close()


def poller() -> Poller:
    found = Poller.of_this_run()
    assert found is not None
    return found


Pairs = Callable[[], Pair]


async def fed(pair: Pair, take: Callable[[bytes], bool]) -> bool:
    with trio.fail_after(_PATIENCE_S):
        return await pair.direct.feed(take)


async def test_what_many_sockets_bring_is_handed_on_in_one_round_of_the_loop(pairs: Pairs) -> None:
    heard: list[tuple[bytes, int]] = []
    with counted() as rounds:
        async with trio.open_nursery() as nursery:
            for name in (b"a", b"b", b"c"):
                pair = pairs()
                pair.say(name)

                def take(data: bytes) -> bool:
                    heard.append((data, rounds.count))
                    return False

                nursery.start_soon(fed, pair, take)
    assert sorted(data for data, _ in heard) == [b"a", b"b", b"c"]
    assert len({round_ for _, round_ in heard}) == 1


async def test_who_wants_no_more_gets_the_rest_the_next_time(pairs: Pairs) -> None:
    pair, heard = pairs(), list[bytes]()

    def take(data: bytes) -> bool:
        heard.append(data)
        pair.say(b"more")
        return len(heard) == 1

    pair.say(b"first")
    assert await fed(pair, take) is True
    assert heard == [b"first", b"more"]
    assert await fed(pair, take) is True
    assert heard == [b"first", b"more", b"more"]


async def test_the_end_of_a_stream_is_told_after_what_came_before_it(pairs: Pairs) -> None:
    pair, heard = pairs(), list[bytes]()
    pair.say(b"last words")
    pair.far.close()
    assert await fed(pair, lambda data: not heard.append(data)) is False
    assert heard == [b"last words"]


async def test_a_connection_that_broke_is_an_error_that_says_why(pairs: Pairs) -> None:
    pair = pairs()
    assert pair.direct.write(b"never read") == 10
    pair.far.close()  # with unread input, which resets the connection
    with pytest.raises(trio.BrokenResourceError, match="reset") as broken:
        await fed(pair, lambda _: True)
    assert isinstance(broken.value.__cause__, ConnectionResetError)


async def test_what_goes_wrong_with_one_is_raised_there_and_the_others_go_on(pairs: Pairs) -> None:
    one, other = pairs(), pairs()

    def fail(data: bytes) -> bool:
        raise OSError(data.decode())  # not the socket's

    async def meets_it() -> None:
        with pytest.raises(OSError, match=r"^nonsense$"):
            await fed(one, fail)
        other.say(b"go on")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(meets_it)
        one.say(b"nonsense")
        assert await fed(other, lambda data: data != b"go on") is True


async def test_of_two_that_end_each_other_the_second_is_not_called(pairs: Pairs) -> None:
    called: list[int] = []
    scopes = [trio.CancelScope(), trio.CancelScope()]

    async def wait(number: int) -> None:
        pair = pairs()
        pair.say(b"now")

        def take(_: bytes) -> bool:
            called.append(number)
            scopes[1 - number].cancel()
            return False

        with scopes[number]:
            await fed(pair, take)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 0)
        nursery.start_soon(wait, 1)
    assert len(called) == 1
    assert [scope.cancelled_caught for scope in scopes] == [called == [1], called == [0]]


async def test_who_ends_itself_while_it_takes_is_woken_once_and_may_come_again(pairs: Pairs) -> None:
    pair = pairs()
    pair.say(b"enough")
    with trio.CancelScope() as scope:

        def take(_: bytes) -> bool:
            scope.cancel()
            return False

        await fed(pair, take)
    assert scope.cancelled_caught
    pair.say(b"again")
    assert await fed(pair, lambda data: data != b"again") is True


async def test_what_goes_wrong_after_it_ended_its_own_wait_is_raised_all_the_same(pairs: Pairs) -> None:
    pair = pairs()
    pair.say(b"nonsense")
    with trio.CancelScope() as scope:

        def take(data: bytes) -> bool:
            scope.cancel()
            raise ValueError(data.decode())

        with pytest.raises(ValueError, match="nonsense"):
            await fed(pair, take)


async def test_two_cannot_wait_for_what_one_socket_brings(pairs: Pairs) -> None:
    pair = pairs()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed, pair, lambda _: True)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InvariantViolated, match="two wait"):
            await fed(pair, lambda _: True)
        nursery.cancel_scope.cancel()


async def test_it_is_taken_with_the_context_of_who_waits(pairs: Pairs) -> None:
    heard = dict[bytes, str]()

    async def wait(pair: Pair, who: str) -> None:
        _told.set(who)
        await fed(pair, lambda data: bool(heard.update({data: _told.get()})))

    async with trio.open_nursery() as nursery:
        for name in ("one", "other"):
            pair = pairs()
            pair.say(name.encode())
            nursery.start_soon(wait, pair, name)
    assert heard == {b"one": "one", b"other": "other"}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("a_task_is_to_run", [True, False])
async def test_what_soon_follows_is_waited_for_without_a_round_of_the_loop_if_asked_and_nothing_is_due(
    pairs: Pairs, asked: bool, a_task_is_to_run: bool
) -> None:
    first, second, third, at = pairs(), pairs(), pairs(), list[int]()
    due, ended = trio.Event(), trio.Event()

    with counted() as rounds:

        def begin(_: bytes) -> bool:
            at.append(rounds.count)
            second.say(b"an answer")
            if a_task_is_to_run:
                due.set()
            if asked:
                poller().lingers = True
            return True

        def follow(_: bytes) -> bool:
            at.append(rounds.count)
            third.say(b"something that nobody lingers for")
            return True

        def end(_: bytes) -> bool:
            at.append(rounds.count)
            ended.set()
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(due.wait)
            nursery.start_soon(fed, first, begin)
            nursery.start_soon(fed, second, follow)
            nursery.start_soon(fed, third, end)
            await trio.testing.wait_all_tasks_blocked()
            first.say(b"a request")
            with trio.fail_after(_PATIENCE_S):
                await ended.wait()
            nursery.cancel_scope.cancel()
    assert (at[1] == at[0]) is (asked and not a_task_is_to_run)
    assert at[2] > at[1]


async def test_a_task_has_its_turn_however_long_messages_go_back_and_forth(pairs: Pairs) -> None:
    pair, due, handled = pairs(), trio.Event(), 0

    def take(data: bytes) -> bool:
        nonlocal handled
        handled += 1
        if handled == 2:  # the first time that nobody looks whether something is due
            due.set()
        pair.say(data)
        poller().lingers = True
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed, pair, take)
        await trio.testing.wait_all_tasks_blocked()
        pair.say(b"to and fro")
        with trio.fail_after(_PATIENCE_S):
            await due.wait()
        nursery.cancel_scope.cancel()
    assert handled <= 2 * (1 + LOOKS_AT_MOST)  # twice: the poller may be the first of the tasks of that turn


async def test_one_who_asked_to_linger_in_vain_goes_back_to_the_loop(pairs: Pairs) -> None:
    pair = pairs()
    with counted() as rounds:

        def take(_: bytes) -> bool:
            poller().lingers = True
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fed, pair, take)
            await trio.testing.wait_all_tasks_blocked()
            pair.say(b"the only one")
            await trio.testing.wait_all_tasks_blocked()
            before = rounds.count
            pair.far.close()
            await trio.testing.wait_all_tasks_blocked()
    assert rounds.count > before


async def test_without_such_files_each_socket_is_waited_for_alone(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Poller.of_this_run() is None
    pair, heard = pairs(), list[bytes]()
    pair.say(b"first")

    def take(data: bytes) -> bool:
        heard.append(data)
        pair.say(b"more")
        return len(heard) == 1

    assert await fed(pair, take) is True
    assert heard == [b"first", b"more"]
    pair.far.close()
    assert await fed(pair, lambda _: True) is False
