"""The queue of candidates, on the embedded tree: who leads, who takes over, who wakes, and what nobody believes."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import pytest
import trio
import trio.testing

from quorate.metadata.zookeeper.acls import Acl
from quorate.metadata.zookeeper.candidates import Candidacy, Leading
from quorate.metadata.zookeeper.embedded import Call, EmbeddedServer, EmbeddedZooKeeper, Fault
from quorate.metadata.zookeeper.znodes import Check, Create, ErrorCode, MultiFailed, SetData, ZooKeeperError

QUEUE: Final = "/quorate/candidates"


class Member:
    """A candidate and all that it was told."""

    def __init__(self, name: str, server: EmbeddedServer) -> None:
        self.name = name
        self.zk: EmbeddedZooKeeper = server.connect()
        self.told: list[Leading | None] = []
        self.scope = trio.CancelScope()
        count = iter(range(100))
        self.candidacy = Candidacy(self.zk, QUEUE, self.told.append, nonce=lambda: f"{name}{next(count)}")

    async def run(self) -> None:
        with self.scope:
            await self.candidacy.run()

    @property
    def leads(self) -> bool:
        return self.candidacy.leading is not None


class Bench:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.after_call: Callable[[], None] = lambda: None
        self.server = EmbeddedServer(shuffle=random.Random(5), pause=self._pause)
        self._nursery = nursery

    async def _pause(self) -> None:
        await trio.lowlevel.checkpoint()
        self.after_call()

    async def queue(self, *names: str) -> list[Member]:
        """Candidates in this order."""
        members = []
        for name in names:
            members.append(Member(name, self.server))
            self._nursery.start_soon(members[-1].run)
            await quiet()
        return members

    def names(self) -> list[str]:
        return [name.partition("-")[0] for name in self.server.state.tree.children(QUEUE)]

    def path(self, member: Member) -> str:
        (mine,) = [name for name in self.server.state.tree.children(QUEUE) if name.startswith(member.name)]
        return f"{QUEUE}/{mine}"


quiet = trio.testing.wait_all_tasks_blocked


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        yield Bench(nursery)
        nursery.cancel_scope.cancel()


def leaders(members: Sequence[Member]) -> list[str]:
    return [member.name for member in members if member.leads]


def once(what: Callable[[Call], bool], fault: Fault) -> Callable[[Call], Fault | None]:
    """Befalls the first call of that kind."""
    left = [fault]
    return lambda call: left.pop() if left and what(call) else None


def queues_up(call: Call) -> bool:
    return call.name == "create" and "-n-" in call.paths[0]


async def test_the_lowest_leads_and_the_next_takes_over(bench: Bench) -> None:
    members = a, b, _ = await bench.queue("a", "b", "c")
    assert leaders(members) == ["a"]
    assert bench.names() == ["a0", "b0", "c0"]
    first = a.told[0]

    a.scope.cancel()
    await quiet()
    assert leaders(members) == ["b"]
    assert a.told == [first, None]
    b.scope.cancel()
    await quiet()
    assert leaders(members) == ["c"]
    assert bench.names() == ["c0"]


async def test_tokens_grow_from_leader_to_leader(bench: Bench) -> None:
    a, b = await bench.queue("a", "b")
    a.scope.cancel()
    await quiet()

    assert a.told[0] is not None
    assert b.candidacy.leading is not None
    assert a.told[0].token < b.candidacy.leading.token
    assert b.candidacy.leading.token == bench.server.state.get(bench.path(b)).stat.czxid


async def test_one_going_wakes_the_one_behind_it_alone(bench: Bench) -> None:
    members = await bench.queue(*"abcdefgh")
    calls: list[Call] = []
    assert bench.server.state.watches.count() == len(members)  # one each; the leader watches itself
    bench.server.fault = lambda call: calls.append(call)  # type: ignore[func-returns-value]

    bench.server.expire(members[0].zk.session_id)
    members[0].scope.cancel()
    await quiet()

    assert leaders(members) == ["b"]
    assert {call.session for call in calls} <= {members[1].zk.session_id, members[0].zk.session_id}


async def test_a_predecessor_that_leaves_the_middle_makes_no_leader(bench: Bench) -> None:
    members = a, b, c = await bench.queue("a", "b", "c")
    b.scope.cancel()
    await quiet()
    assert leaders(members) == ["a"]
    assert c.told == []

    a.scope.cancel()
    await quiet()
    assert leaders(members) == ["c"]


async def test_a_lost_session_queues_again_at_the_end(bench: Bench) -> None:
    members = a, _, _ = await bench.queue("a", "b", "c")
    bench.server.expire(a.zk.session_id)
    await quiet()

    assert leaders(members) == ["b"]
    assert a.told[-1] is None
    assert bench.names() == ["b0", "c0", "a1"]


async def test_who_cannot_be_sure_leads_no_longer(bench: Bench) -> None:
    """Suspended: its znode is there, so nobody else leads either."""
    members = a, b = await bench.queue("a", "b")
    token = a.told[0]
    a.zk.hold_back()
    assert a.told[1:] == [None]
    await quiet()
    assert leaders(members) == []

    a.zk.let_in()
    await quiet()
    assert leaders(members) == ["a"]
    assert a.told[-1] == token
    assert b.told == []


async def test_nobody_leads_who_lost_the_connection_while_it_found_out(bench: Bench) -> None:
    """Between the server's answer and its arrival: what it says was true."""
    seen: list[Call] = []
    bench.server.fault = lambda call: seen.append(call)  # type: ignore[func-returns-value]
    held: list[EmbeddedZooKeeper] = []

    def cut() -> None:
        if seen and seen[-1].name == "exists" and not held:
            held.append(bench.server.client_of(seen[-1].session))
            held[0].hold_back()

    bench.after_call = cut
    (a,) = await bench.queue("a")
    assert held == [a.zk]
    assert a.told == []

    a.zk.let_in()
    await quiet()
    assert a.leads


async def test_who_is_away_for_too_long_is_followed(bench: Bench) -> None:
    members = a, _ = await bench.queue("a", "b")
    a.zk.hold_back()
    bench.server.advance(60_000)
    await quiet()
    assert leaders(members) == ["b"]

    a.zk.let_in()
    await quiet()
    assert leaders(members) == ["b"]
    assert bench.names() == ["b0", "a1"]


async def test_a_leader_whose_znode_is_removed_leads_no_longer(bench: Bench) -> None:
    members = a, _ = await bench.queue("a", "b")
    operator = bench.server.connect()
    await operator.delete(bench.path(a))
    assert a.told[-1] is None
    await quiet()

    assert leaders(members) == ["b"]
    assert bench.names() == ["b0", "a0"]


@pytest.mark.parametrize("fault", [Fault.LOSS_BEFORE, Fault.LOSS_AFTER])
async def test_a_creation_whose_reply_is_lost_makes_one_candidate(
    bench: Bench, autojump_clock: trio.testing.MockClock, fault: Fault
) -> None:
    (a,) = await bench.queue("a")
    bench.server.fault = once(queues_up, fault)
    (b,) = await bench.queue("b")
    await trio.sleep(1)

    assert bench.names() == ["a0", "b0"]
    a.scope.cancel()
    await quiet()
    assert b.leads


async def test_a_session_that_ends_while_it_queues_leaves_nothing(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    bench.server.fault = once(queues_up, Fault.EXPIRY_AFTER)
    (a,) = await bench.queue("a")
    await trio.sleep(1)

    assert bench.names() == ["a1"]
    assert a.leads


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("place", range(11))
async def test_whatever_befalls_any_call_there_is_one_leader_in_the_end(
    bench: Bench, autojump_clock: trio.testing.MockClock, fault: Fault, place: int
) -> None:
    """Every call of two candidates, from nothing: the fault strikes exactly one of them."""
    seen: list[Call] = []

    def strike(call: Call) -> Fault | None:
        seen.append(call)
        return fault if len(seen) == place + 1 else None

    bench.server.fault = strike
    members = await bench.queue("a", "b")
    await trio.sleep(5)

    assert len(seen) > place
    assert len(leaders(members)) == 1
    assert len(bench.names()) == 2


async def test_a_fault_of_the_right_ends_it(bench: Bench) -> None:
    bench.server.state.write(
        bench.server.connect().session_id, Create("/quorate", acl=(Acl(1, "world", "anyone"),)), time_ms=0
    )
    zk = bench.server.connect()

    with pytest.raises(ZooKeeperError) as refused:
        await Candidacy(zk, QUEUE, lambda leading: None).run()
    assert refused.value.code is ErrorCode.NO_AUTH


async def test_a_paused_leader_that_wakes_up_cannot_write(bench: Bench) -> None:
    """What a token is for: the protected write checks the epoch that a later leader has moved on."""
    members = a, b = await bench.queue("a", "b")
    epoch = bench.server.connect()
    await epoch.create("/epoch", b"0")
    assert a.leads
    stat = await a.zk.set("/epoch", b"a")
    bench.server.expire(a.zk.session_id)  # and its process sleeps: it is told, and does not hear
    await quiet()
    assert leaders(members) == ["b"]
    await b.zk.set("/epoch", b"b")

    with pytest.raises(MultiFailed) as refused:
        await a.zk.multi([Check("/epoch", stat.version), SetData("/epoch", b"late")])
    assert refused.value.code is ErrorCode.BAD_VERSION
