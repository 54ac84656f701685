"""The embedded ZooKeeper's faults: each does exactly what its name says, and nothing else."""

import random
from typing import Final

import pytest

from quorate.metadata.zookeeper.embedded import EmbeddedServer, EmbeddedZooKeeper, Fault
from quorate.metadata.zookeeper.znodes import (
    Create,
    ErrorCode,
    EventType,
    SessionState,
    Stat,
    WatchEvent,
    Znode,
    ZooKeeperError,
)

CONNECTED: Final = SessionState.CONNECTED


class Bench:
    def __init__(self) -> None:
        self.server = EmbeddedServer()
        self.zk = self.server.connect()
        self.other = self.server.connect()
        self.told: list[SessionState] = []
        self.events: list[tuple[EventType, str]] = []
        self.zk.on_state(self.told.append)

    def hear(self, event: WatchEvent) -> None:
        self.events.append((event.type, event.path))

    async def strike(self, fault: Fault) -> ErrorCode:
        """In a creation of /a."""
        self.server.fault = lambda call: fault if call.paths == ("/a",) and call.writes else None
        with pytest.raises(ZooKeeperError) as struck:
            await self.zk.create("/a")
        self.server.fault = lambda call: None
        assert struck.value.outcome_unknown
        return struck.value.code


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("fault", "code", "is_done"),
    [
        (Fault.LOSS_BEFORE, ErrorCode.CONNECTION_LOSS, False),
        (Fault.LOSS_AFTER, ErrorCode.CONNECTION_LOSS, True),
        (Fault.EXPIRY_BEFORE, ErrorCode.SESSION_EXPIRED, False),
        (Fault.EXPIRY_AFTER, ErrorCode.SESSION_EXPIRED, True),
    ],
)
async def test_faults(bench: Bench, fault: Fault, code: ErrorCode, is_done: bool) -> None:
    session = bench.zk.session_id
    await bench.zk.create("/e", ephemeral=True)
    await bench.zk.exists("/x", bench.hear)

    assert await bench.strike(fault) is code

    assert (await bench.other.exists("/a") is not None) is is_done
    expired = code is ErrorCode.SESSION_EXPIRED
    assert (await bench.other.exists("/e") is None) is expired
    assert (bench.zk.session_id != session) is expired
    assert bench.told == [SessionState.LOST if expired else SessionState.SUSPENDED, CONNECTED]
    await bench.other.create("/x")
    assert bench.events == [], "watches are the connection's, and it is another one now"


async def test_a_failed_write_whose_reply_is_lost_is_a_lost_connection(bench: Bench) -> None:
    await bench.zk.create("/a")

    assert await bench.strike(Fault.LOSS_AFTER) is ErrorCode.CONNECTION_LOSS


async def test_held_back_fails_at_once_and_ends_when_its_time_is_over(bench: Bench) -> None:
    await bench.zk.create("/e", ephemeral=True)
    bench.zk.hold_back()
    with pytest.raises(ZooKeeperError, match="CONNECTION_LOSS /e"):
        await bench.zk.get("/e")
    bench.server.advance(18_000)
    assert await bench.other.exists("/e") is not None
    bench.server.advance(2_000)
    assert await bench.other.exists("/e") is None
    assert bench.told == [SessionState.SUSPENDED], "nobody has told it yet"

    bench.zk.let_in()
    assert bench.told == [SessionState.SUSPENDED, SessionState.LOST, CONNECTED]
    await bench.zk.create("/e", ephemeral=True)


async def test_who_is_in_touch_lives_for_ever(bench: Bench) -> None:
    await bench.zk.create("/e", ephemeral=True)
    for _ in range(10):
        bench.server.advance(18_000)

    assert await bench.zk.exists("/e") is not None


class TestLagging:
    async def test_sees_the_past_until_sync(self, bench: Bench) -> None:
        await bench.other.create("/a", b"old")
        bench.zk.lag()
        await bench.other.set("/a", b"new")
        await bench.other.create("/b")

        assert (await bench.zk.get("/a")).data == b"old"
        assert await bench.zk.exists("/b") is None
        assert set(await bench.zk.children("/")) == {"zookeeper", "a"}
        await bench.zk.sync()
        assert (await bench.zk.get("/a")).data == b"new"
        assert await bench.zk.get("/b") == await bench.other.get("/b")

    async def test_its_own_write_brings_it_up_to_date(self, bench: Bench) -> None:
        bench.zk.lag()
        await bench.other.create("/a")
        with pytest.raises(ZooKeeperError, match="NODE_EXISTS"):  # writes are decided by the newest state
            await bench.zk.create("/a")
        assert await bench.zk.exists("/a") is None
        await bench.zk.create("/mine")

        assert await bench.zk.exists("/a") is not None

    async def test_events_come_with_what_they_tell_of_and_in_order(self, bench: Bench) -> None:
        await bench.zk.exists("/before", bench.hear)
        bench.zk.lag()
        await bench.zk.exists("/during", bench.hear)
        await bench.zk.exists("/never", bench.hear)
        await bench.other.create("/during")
        await bench.other.create("/before")
        assert bench.events == []

        bench.zk.catch_up()
        assert bench.events == [(EventType.CREATED, "/during"), (EventType.CREATED, "/before")]
        await bench.other.create("/never")
        assert bench.events[2:] == [(EventType.CREATED, "/never")]

    async def test_a_lost_connection_forgets_it(self, bench: Bench) -> None:
        bench.zk.lag()
        await bench.zk.exists("/x", bench.hear)
        await bench.other.create("/x")
        await bench.strike(Fault.LOSS_BEFORE)

        assert await bench.zk.exists("/x") is not None
        assert bench.events == []


async def test_a_dump_is_kept_as_it_was() -> None:
    """With zxids and owners: Kafka's broker epochs are czxids."""
    stat = Stat(7, 9, 1, 2, 3, 4, 5, 0, 1, 2, 11)
    child = Stat(8, 8, 1, 1, 0, 0, 0, 77, 0, 0, 8)
    root = Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 2, 0)
    tree = {
        "/": Znode("/", b"", root),
        "/a": Znode("/a", b"x", stat),
        "/a/e": Znode("/a/e", None, child),
        "/a/f": Znode("/a/f", None, child),
    }
    server = EmbeddedServer(tree)
    zk: EmbeddedZooKeeper = server.connect()

    assert await zk.get_many(["/a", "/a/e", "/a/f"]) == [tree["/a"], tree["/a/e"], tree["/a/f"]]
    assert set(server.znodes()) == set(tree)
    assert await zk.create("/a/n", sequential=True) == "/a/n0000000003"  # (4 + 2) / 2 were created
    assert (await zk.get("/a/n0000000003")).stat.czxid == 13  # after 11 and the session
    server.expire(77)
    assert await zk.children("/a") == ["n0000000003"]


async def test_children_can_come_in_any_order() -> None:
    server = EmbeddedServer(shuffle=random.Random(1))
    zk = server.connect()
    await zk.multi([Create(f"/{index}") for index in range(20)])

    first, second = await zk.children("/"), await zk.children("/")
    assert first != second
    assert sorted(first) == sorted(second)
