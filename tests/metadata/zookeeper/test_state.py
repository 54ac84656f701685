"""The server's memory: what a write does and what it leaves alone; sessions; watches. ZooKeeper's Programmer's Guide
and the check-list of what an embedded tree must honour."""

from collections.abc import Sequence
from typing import Final

import pytest

from quorate.metadata.zookeeper.acls import OPEN, Acl, Identity, Permission, digest_identity
from quorate.metadata.zookeeper.draft import SetAcl, Write
from quorate.metadata.zookeeper.state import Committed, ServerState
from quorate.metadata.zookeeper.transactions import Created
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    EventType,
    MultiFailed,
    SetData,
    Stat,
    WatchEvent,
    ZooKeeperError,
)

ME: Final = 0x10
YOU: Final = 0x20
TICK: Final = 2000


class Bench:
    """A state with two sessions and a clock for the stats."""

    def __init__(self) -> None:
        self.state: ServerState[str] = ServerState()
        self.time = 1000
        for session in (ME, YOU):
            self.state.open_session(session, 4000, b"p" * 16, now_ms=0, time_ms=self.time)

    def do(self, op: Write, session: int = ME, identities: tuple[Identity, ...] = ()) -> Committed[str]:
        self.time += 1
        return self.state.write(session, op, time_ms=self.time, identities=identities)

    def multi(self, *ops: Write, session: int = ME) -> Committed[str]:
        self.time += 1
        return self.state.multi(session, ops, time_ms=self.time)

    def make(self, *paths: str) -> None:
        for path in paths:
            self.do(Create(path))

    def refusal(self, op: Write, identities: tuple[Identity, ...] = ()) -> ErrorCode:
        before = self.picture()
        with pytest.raises(ZooKeeperError) as refused:
            self.do(op, identities=identities)
        assert self.picture() == before, "a refused write left a trace"
        return refused.value.code

    def stat(self, path: str) -> Stat:
        return self.state.get(path).stat

    def picture(self) -> dict[str, object]:
        shown: dict[str, object] = {
            path: (node.data, node.stat(), node.creates) for path, node in self.state.tree.nodes.items()
        }
        return {**shown, "zxid": self.state.last_zxid, "watches": self.state.watches.count()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def told(committed: Committed[str]) -> Sequence[tuple[str, EventType, str]]:
    return [(who, event.type, event.path) for who, event in committed.events]


def made(committed: Committed[str]) -> list[str]:
    return [change.path for change in committed.transaction.changes if isinstance(change, Created)]


def test_each_write_moves_what_it_touches(bench: Bench) -> None:
    first = bench.do(Create("/a", b"1"))

    zxid = first.transaction.zxid
    assert first.results == [("/a", Stat(zxid, zxid, 1001, 1001, 0, 0, 0, 0, 1, 0, zxid))]

    child = bench.do(Create("/a/b")).transaction.zxid
    assert bench.stat("/a") == Stat(zxid, zxid, 1001, 1001, 0, 1, 0, 0, 1, 1, child)

    changed = bench.do(SetData("/a", b"22")).transaction.zxid
    assert bench.stat("/a") == Stat(zxid, changed, 1001, 1003, 1, 1, 0, 0, 2, 1, child)

    gone = bench.do(Delete("/a/b")).transaction.zxid
    assert bench.stat("/a") == Stat(zxid, changed, 1001, 1003, 1, 2, 0, 0, 2, 0, gone)
    assert [zxid, child, changed, gone] == list(range(3, 7))


def test_null_data_is_not_empty_data(bench: Bench) -> None:
    bench.do(Create("/null", None))
    bench.do(Create("/empty", b""))

    assert bench.state.get("/null").data is None
    assert bench.state.get("/empty").data == b""
    assert bench.stat("/null").data_length == bench.stat("/empty").data_length == 0


def test_a_node_made_again_starts_again(bench: Bench) -> None:
    bench.make("/a")
    bench.do(SetData("/a", b"x"))
    before = bench.stat("/a")
    bench.do(Delete("/a"))
    bench.make("/a")

    assert (before.version, bench.stat("/a").version) == (1, 0)
    assert bench.stat("/a").czxid > before.mzxid


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (Create("/a"), ErrorCode.NODE_EXISTS),
        (Create("/"), ErrorCode.NODE_EXISTS),
        (Create("/no/a"), ErrorCode.NO_NODE),
        (Create("/mine/a"), ErrorCode.NO_CHILDREN_FOR_EPHEMERALS),
        (Create("a"), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/"), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/."), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/\0"), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/\x1f"), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/\uf000"), ErrorCode.BAD_ARGUMENTS),
        (Create("/a/\U0001f600"), ErrorCode.BAD_ARGUMENTS),
        (Create("/x", acl=()), ErrorCode.INVALID_ACL),
        (Create("/x", acl=(Acl(31, "auth", ""),)), ErrorCode.INVALID_ACL),
        (Create("/no/x", acl=(Acl(31, "moon", "x"),)), ErrorCode.INVALID_ACL),
        (SetData("/no", b""), ErrorCode.NO_NODE),
        (SetData("/a", b"", 7), ErrorCode.BAD_VERSION),
        (SetData("/a/", b"", 7), ErrorCode.BAD_ARGUMENTS),
        (Delete("/no"), ErrorCode.NO_NODE),
        (Delete("/a", 7), ErrorCode.BAD_VERSION),
        (Delete("/a"), ErrorCode.NOT_EMPTY),
        (Delete("/"), ErrorCode.BAD_ARGUMENTS),
        (Delete("/zookeeper"), ErrorCode.BAD_ARGUMENTS),
        (Check("/no", 0), ErrorCode.NO_NODE),
        (Check("/a", 7), ErrorCode.BAD_VERSION),
    ],
)
def test_what_is_refused_leaves_no_trace(bench: Bench, op: Write, code: ErrorCode) -> None:
    bench.make("/a", "/a/b")
    bench.do(Create("/mine", ephemeral=True))

    assert bench.refusal(op) is code


def test_reads_of_what_is_not_there(bench: Bench) -> None:
    with pytest.raises(ZooKeeperError, match="NO_NODE /no"):
        bench.state.get("/no", "me")
    with pytest.raises(ZooKeeperError, match="NO_NODE /no"):
        bench.state.children("/no", "me")
    assert bench.state.exists("/no") is None
    assert bench.state.watches.count() == 0


class TestSequences:
    def test_the_number_counts_creations_of_any_kind(self, bench: Bench) -> None:
        bench.make("/q", "/q/plain")
        first = bench.do(Create("/q/n-", sequential=True))
        bench.do(Delete("/q/n-0000000001"))
        second = bench.do(Create("/q/", sequential=True))

        assert made(first) == ["/q/n-0000000001"]
        assert made(second) == ["/q/0000000002"]
        assert bench.stat("/q").cversion == 4  # three creations and a deletion

    def test_a_refused_multi_takes_no_number(self, bench: Bench) -> None:
        bench.make("/q")
        with pytest.raises(MultiFailed):
            bench.multi(Create("/q/n-", sequential=True), Check("/no", 0))

        assert made(bench.do(Create("/q/n-", sequential=True))) == ["/q/n-0000000000"]

    def test_the_ops_of_a_multi_share_the_counter(self, bench: Bench) -> None:
        bench.make("/q")
        done = bench.multi(*(Create("/q/n-", sequential=True) for _ in range(3)))

        assert made(done) == ["/q/n-0000000000", "/q/n-0000000001", "/q/n-0000000002"]

    def test_the_counter_wraps_as_javas_int(self, bench: Bench) -> None:
        bench.make("/q")
        bench.state.tree.nodes["/q"].creates = 2**31 - 1

        names = [made(bench.do(Create("/q/n", sequential=True))) for _ in range(2)]
        assert names == [["/q/n2147483647"], ["/q/n-2147483648"]]


class TestMulti:
    def test_one_zxid_and_later_ops_see_earlier_ones(self, bench: Bench) -> None:
        before = bench.state.last_zxid
        done = bench.multi(
            Create("/a", b"1"), Create("/a/b"), Check("/a", 0), SetData("/a", b"2", 0), Check("/a", 1)
        )

        assert done.transaction.zxid == before + 1 == bench.state.last_zxid
        assert {bench.stat(path).czxid for path in ("/a", "/a/b")} == {before + 1}
        assert bench.state.get("/a").data == b"2"
        assert done.results[3].version == 1  # type: ignore[union-attr]

    def test_delete_and_create_of_one_path(self, bench: Bench) -> None:
        """Kafka claims `/controller` that way."""
        bench.make("/a")
        bench.do(SetData("/a", b"old"))
        done = bench.multi(Delete("/a"), Create("/a", b"new"))

        stat = bench.stat("/a")
        assert (stat.version, stat.czxid) == (0, done.transaction.zxid)
        assert bench.state.get("/a").data == b"new"

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_all_or_nothing_wherever_it_fails(self, bench: Bench, place: int) -> None:
        bench.make("/a")
        bench.state.children("/", "watcher")
        ops: list[Write] = [Create("/x"), SetData("/a", b"new"), Delete("/a")]
        ops.insert(place, Check("/a", 77))
        before = bench.picture()

        with pytest.raises(MultiFailed) as failed:
            bench.multi(*ops)

        assert (failed.value.code, failed.value.path, failed.value.index) == (
            ErrorCode.BAD_VERSION,
            "/a",
            place,
        )
        assert bench.picture() == before

    def test_what_was_deleted_in_it_is_gone_for_what_follows(self, bench: Bench) -> None:
        bench.make("/a", "/a/b")

        with pytest.raises(MultiFailed) as failed:
            bench.multi(Delete("/a/b"), Delete("/a"), SetData("/a", b""))
        assert (failed.value.code, failed.value.index) == (ErrorCode.NO_NODE, 2)
        bench.multi(Delete("/a/b"), Delete("/a"))
        assert bench.state.exists("/a") is None


class TestSessions:
    def test_the_end_takes_all_ephemerals_with_one_zxid(self, bench: Bench) -> None:
        bench.make("/a")
        for path in ("/a/1", "/a/2", "/3"):
            bench.do(Create(path, ephemeral=True))
        bench.do(Create("/a/yours", ephemeral=True), YOU)
        assert bench.stat("/a/1").ephemeral_owner == ME

        ended = bench.state.close_session(ME, time_ms=5)

        assert bench.state.tree.children("/a") == ["yours"]
        assert bench.state.exists("/3") is None
        assert bench.stat("/a").pzxid == ended.transaction.zxid == bench.state.last_zxid

    def test_nobody_writes_after_the_end(self, bench: Bench) -> None:
        bench.state.close_session(ME, time_ms=5)

        assert bench.refusal(Create("/a")) is ErrorCode.SESSION_EXPIRED
        with pytest.raises(ZooKeeperError, match="SESSION_EXPIRED"):
            bench.multi(Check("/", 0))

    def test_ends_come_in_ticks_and_hearing_moves_them(self, bench: Bench) -> None:
        """A timeout of 4 s from 0 ends in the tick after it: at 6 s, with all who end in that tick."""
        state = bench.state
        assert state.sessions.next_end_ms() == 6000
        assert state.expire(now_ms=5999, time_ms=1) == []
        state.sessions.touch(YOU, 1999)
        assert state.sessions.next_end_ms() == 6000
        state.sessions.touch(YOU, 2000)

        assert [e.transaction.session for e in state.expire(now_ms=6000, time_ms=1)] == [ME]
        assert [e.transaction.session for e in state.expire(now_ms=8000, time_ms=1)] == [YOU]
        assert state.sessions.next_end_ms() is None

    @pytest.mark.parametrize(("asked", "granted"), [(1, 4000), (4001, 4001), (10**9, 40_000)])
    def test_timeouts_lie_between_2_and_20_ticks(self, bench: Bench, asked: int, granted: int) -> None:
        assert bench.state.sessions.granted_timeout_ms(asked) == granted


class TestWatches:
    def test_each_kind_hears_what_it_asked_for_once(self, bench: Bench) -> None:
        state = bench.state
        bench.make("/a")
        state.get("/a", "data")
        state.children("/a", "child")
        state.exists("/a/b", "exists")

        assert told(bench.do(Create("/a/b"))) == [
            ("exists", EventType.CREATED, "/a/b"),
            ("child", EventType.CHILDREN_CHANGED, "/a"),
        ]
        assert told(bench.do(SetData("/a", b"x"))) == [("data", EventType.DATA_CHANGED, "/a")]
        assert told(bench.do(SetData("/a", b"y"))) == []
        assert state.watches.count() == 0

    def test_a_deletion_is_told_once_to_one_who_watches_both(self, bench: Bench) -> None:
        bench.make("/a")
        bench.state.get("/a", "me")
        bench.state.children("/a", "me")
        bench.state.children("/a", "child")
        bench.state.children("/", "root")

        assert told(bench.do(Delete("/a"))) == [
            ("me", EventType.DELETED, "/a"),
            ("child", EventType.DELETED, "/a"),
            ("root", EventType.CHILDREN_CHANGED, "/"),
        ]

    def test_grandchildren_and_their_data_are_not_the_parents_business(self, bench: Bench) -> None:
        bench.make("/a", "/a/b")
        bench.state.children("/a", "me")

        assert told(bench.do(Create("/a/b/c"))) == []
        assert told(bench.do(SetData("/a/b", b"x"))) == []

    def test_a_multi_fires_in_the_order_of_its_ops(self, bench: Bench) -> None:
        bench.make("/a")
        bench.state.get("/a", "me")
        bench.state.exists("/b", "me")

        assert told(bench.multi(Create("/b"), SetData("/a", b"1"), SetData("/a", b"2"))) == [
            ("me", EventType.CREATED, "/b"),
            ("me", EventType.DATA_CHANGED, "/a"),
        ]

    def test_who_is_gone_hears_nothing(self, bench: Bench) -> None:
        bench.make("/a")
        bench.state.get("/a", "me")
        bench.state.children("/a", "me")
        bench.state.watches.forget("me")

        assert bench.state.watches.count() == 0
        assert told(bench.do(Delete("/a"))) == []

    def test_the_end_of_a_session_fires(self, bench: Bench) -> None:
        bench.do(Create("/e", ephemeral=True))
        bench.state.exists("/e", "you")

        assert told(bench.state.close_session(ME, time_ms=1)) == [("you", EventType.DELETED, "/e")]

    def test_who_comes_back_hears_what_it_missed(self, bench: Bench) -> None:
        bench.make("/same", "/changed", "/gone", "/grown", "/still")
        seen = bench.state.last_zxid
        bench.do(SetData("/changed", b"x"))
        bench.do(Delete("/gone"))
        bench.make("/born", "/grown/child")

        missed = bench.state.set_watches(
            seen,
            ["/same", "/changed", "/gone"],
            ["/born", "/unborn"],
            ["/still", "/grown", "/gone"],
            "me",
        )

        assert missed == [
            WatchEvent(EventType.DATA_CHANGED, "/changed"),
            WatchEvent(EventType.DELETED, "/gone"),
            WatchEvent(EventType.CREATED, "/born"),
            WatchEvent(EventType.CHILDREN_CHANGED, "/grown"),
            WatchEvent(EventType.DELETED, "/gone"),
        ]
        assert told(bench.do(SetData("/same", b""))) == [("me", EventType.DATA_CHANGED, "/same")]
        assert told(bench.do(Create("/unborn"))) == [("me", EventType.CREATED, "/unborn")]
        assert told(bench.do(Create("/still/x"))) == [("me", EventType.CHILDREN_CHANGED, "/still")]


class TestAcls:
    ALICE: Final = digest_identity(b"alice:secret")

    def test_the_digest_is_zookeepers(self) -> None:
        """As `DigestAuthenticationProvider.generateDigest("super:test")` in its documentation."""
        assert digest_identity(b"super:test") == Identity("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
        assert digest_identity(b"nocolon") is None

    def test_only_who_is_listed_and_only_what_is_listed(self, bench: Bench) -> None:
        assert self.ALICE is not None
        mine = (
            Acl(Permission.READ | Permission.CREATE, "digest", self.ALICE.id),
            Acl(Permission.READ, "ip", "10.0.0.0/8"),
        )
        bench.do(Create("/a", b"x", acl=mine))

        with pytest.raises(ZooKeeperError, match="NO_AUTH"):
            bench.state.get("/a")
        with pytest.raises(ZooKeeperError, match="NO_AUTH"):
            bench.state.exists("/a")
        assert bench.state.get("/a", identities=[Identity("ip", "10.1.2.3")]).data == b"x"
        assert bench.state.get("/a", identities=[self.ALICE]).data == b"x"
        assert bench.refusal(SetData("/a", b""), (self.ALICE,)) is ErrorCode.NO_AUTH
        assert bench.refusal(Create("/a/b"), (Identity("ip", "10.1.2.3"),)) is ErrorCode.NO_AUTH
        bench.do(Create("/a/b"), identities=(self.ALICE,))
        assert bench.refusal(Delete("/a/b"), (self.ALICE,)) is ErrorCode.NO_AUTH

    def test_auth_is_who_asks_and_passwords_stay_hidden(self, bench: Bench) -> None:
        assert self.ALICE is not None
        bench.make("/a")
        acl = (Acl(Permission.ALL, "auth", ""), Acl(Permission.READ, "world", "anyone"))
        done = bench.do(SetAcl("/a", acl, 0), identities=(self.ALICE,))

        assert bench.stat("/a").aversion == 1
        assert done.results[0] == bench.stat("/a")
        assert bench.state.acl("/a", [self.ALICE])[0][0] == Acl(31, "digest", self.ALICE.id)
        assert bench.state.acl("/a")[0][0] == Acl(31, "digest", "alice:x")
        assert bench.refusal(SetAcl("/a", OPEN, 0), (self.ALICE,)) is ErrorCode.BAD_VERSION
        assert bench.refusal(SetAcl("/a", OPEN)) is ErrorCode.NO_AUTH


def test_versions_leave_out_the_one_that_means_any(bench: Bench) -> None:
    """ZOOKEEPER-4743."""
    bench.make("/a")
    bench.state.tree.nodes["/a"].version = -2

    bench.do(SetData("/a", b"", -2))
    assert bench.stat("/a").version == 0
