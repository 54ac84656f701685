"""kazoo's own recipes against our server: what other people's programs expect of a ZooKeeper."""

import pathlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import trio
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, LockTimeout, NoAuthError
from kazoo.security import make_digest_acl

from quorate.metadata.zookeeper.server import running_server

PATIENCE_S: Final = 20.0

Connect = Callable[..., Any]


@contextmanager
def clients(port: int) -> Iterator[Connect]:
    """Gives a function that makes connected clients."""
    made: list[Any] = []

    def connect(**settings: Any) -> Any:
        client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=10, **settings)
        made.append(client)
        client.start()
        return client

    try:
        yield connect
    finally:
        for client in made:
            client.stop()
            client.close()


class Told:
    """What a callback was told, for another thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._values: list[Any] = []

    def __call__(self, *values: Any) -> None:
        with self._changed:
            self._values.append(values[0] if len(values) == 1 else values)
            self._changed.notify_all()

    def wait(self, wanted: Callable[[Any], bool]) -> None:
        """Until the newest value is as wanted."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: bool(self._values) and wanted(self._values[-1]), PATIENCE_S
            ), self._values


def locks(connect: Connect) -> None:
    a, b = connect(), connect()
    first, second = a.Lock("/lock", "a"), b.Lock("/lock", "b")
    assert first.acquire()
    with pytest.raises(LockTimeout):
        second.acquire(timeout=0.1)
    assert first.contenders() == ["a"]
    waiting = threading.Thread(target=second.acquire, kwargs={"timeout": PATIENCE_S})
    watcher = Told()
    a.ChildrenWatch("/lock", watcher)
    waiting.start()
    watcher.wait(lambda names: len(names) == 2)
    first.release()
    waiting.join(PATIENCE_S)
    assert second.is_acquired


def a_lock_of_a_lost_client(connect: Connect) -> None:
    a, b = connect(), connect()
    assert a.Lock("/lock").acquire()
    a.stop()
    assert b.Lock("/lock").acquire(timeout=PATIENCE_S)


def read_and_write_locks(connect: Connect) -> None:
    a, b = connect(), connect()
    readers = [a.ReadLock("/rw"), b.ReadLock("/rw")]
    assert [one.acquire(timeout=PATIENCE_S) for one in readers] == [True, True]
    assert not b.WriteLock("/rw").acquire(blocking=False)


def elections(connect: Connect) -> None:
    a, b = connect(), connect()
    led: list[str] = []
    go_on, leads = threading.Event(), threading.Event()

    def lead(name: str) -> None:
        led.append(name)
        leads.set()
        go_on.wait(PATIENCE_S)

    first = threading.Thread(target=a.Election("/election", "a").run, args=(lead, "a"))
    first.start()
    assert leads.wait(PATIENCE_S)
    second_election = b.Election("/election", "b")
    second = threading.Thread(target=second_election.run, args=(lead, "b"))
    watcher = Told()
    a.ChildrenWatch("/election", watcher)
    second.start()
    watcher.wait(lambda names: len(names) == 2)
    assert second_election.contenders() == ["a", "b"]
    assert led == ["a"]
    go_on.set()
    first.join(PATIENCE_S)
    second.join(PATIENCE_S)
    assert led == ["a", "b"]


def counters(connect: Connect) -> None:
    counts = [connect().Counter("/counter") for _ in range(3)]

    def add(counter: Any) -> None:
        for _ in range(10):
            counter += 1

    threads = [threading.Thread(target=add, args=(counter,)) for counter in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert counts[0].value == 30


def data_watches(connect: Connect) -> None:
    a, b = connect(), connect()
    told = Told()
    a.DataWatch("/data", lambda data, stat: told(data))
    told.wait(lambda data: data is None)
    b.create("/data", b"1")
    told.wait(lambda data: data == b"1")
    for number in range(50):
        b.set("/data", str(number).encode())
    told.wait(lambda data: data == b"49")
    b.delete("/data")
    told.wait(lambda data: data is None)


def children_watches(connect: Connect) -> None:
    a, b = connect(), connect()
    told = Told()
    b.create("/parent")
    a.ChildrenWatch("/parent", told)
    for number in range(50):
        b.create("/parent/n", sequence=True, ephemeral=number % 2 == 1)
    told.wait(lambda names: len(names) == 50)
    b.stop()
    told.wait(lambda names: len(names) == 25)


def parties(connect: Connect) -> None:
    a, b = connect(), connect()
    first, second = a.Party("/party", "a"), b.Party("/party", "b")
    first.join()
    second.join()
    assert sorted(first) == ["a", "b"]
    assert len(connect().ShallowParty("/party")) == 2
    b.stop()
    assert list(first) == ["a"]


def barriers(connect: Connect) -> None:
    a, b = connect(), connect()
    barrier = a.Barrier("/barrier")
    barrier.create()
    waits: list[bool] = []
    waiting = threading.Thread(target=lambda: waits.append(b.Barrier("/barrier").wait(PATIENCE_S)))
    waiting.start()
    barrier.remove()
    waiting.join(PATIENCE_S)
    assert waits == [True]


def double_barriers(connect: Connect) -> None:
    barriers = [connect().DoubleBarrier("/double", 3) for _ in range(3)]
    for step in ("enter", "leave"):
        threads = [threading.Thread(target=getattr(barrier, step)) for barrier in barriers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert {barrier.participating for barrier in barriers} == {step == "enter"}


def queues(connect: Connect) -> None:
    a, b = connect(), connect()
    queue = a.Queue("/queue")
    for number in range(5):
        queue.put(str(number).encode())
    queue.put(b"first", priority=1)
    assert [b.Queue("/queue").get() for _ in range(6)] == [b"first", b"0", b"1", b"2", b"3", b"4"]
    locking = b.LockingQueue("/locking")
    locking.put(b"job")
    assert locking.get(PATIENCE_S) == b"job"
    assert a.LockingQueue("/locking").get(0.1) is None
    assert locking.consume()


def semaphores(connect: Connect) -> None:
    a, b, c = (connect().Semaphore("/semaphore", max_leases=2) for _ in range(3))
    assert a.acquire(timeout=PATIENCE_S)
    assert b.acquire(timeout=PATIENCE_S)
    assert not c.acquire(blocking=False)
    a.release()
    assert c.acquire(timeout=PATIENCE_S)


def transactions(connect: Connect) -> None:
    a = connect()
    wanted = a.transaction()
    wanted.create("/t", b"1")
    wanted.set_data("/t", b"2")
    wanted.check("/t", 1)
    done = wanted.commit()
    assert [type(one).__name__ for one in done] == ["str", "ZnodeStat", "bool"]
    failing = a.transaction()
    failing.create("/u")
    failing.delete("/none")
    failing.check("/t", 1)
    assert [type(one).__name__ for one in failing.commit()] == [
        "RolledBackError",
        "NoNodeError",
        "RuntimeInconsistency",
    ]
    assert a.exists("/u") is None


def digests(connect: Connect) -> None:
    owner = connect(
        auth_data=[("digest", "me:secret")], default_acl=[make_digest_acl("me", "secret", all=True)]
    )
    owner.create("/mine", b"x")
    other = connect()
    with pytest.raises(NoAuthError):
        other.get("/mine")
    with pytest.raises(NoAuthError):
        other.create("/mine/x")
    assert [(one.id.scheme, one.id.id) for one in owner.get_acls("/mine")[0]] == [
        ("digest", make_digest_acl("me", "secret").id.id)
    ]
    other.add_auth("digest", "me:secret")
    assert other.get("/mine")[0] == b"x"
    owner.set_acls("/mine", [make_digest_acl("you", "too", read=True)])
    with pytest.raises(NoAuthError):
        owner.get("/mine")
    with pytest.raises(AuthFailedError):
        connect().add_auth("moon", "x")


def sequences_in_containers(connect: Connect) -> None:
    a = connect()
    assert a.create("/deep/er/", makepath=True, sequence=True) == "/deep/er/0000000000"
    a.ensure_path("/deep/er/est")
    a.delete("/deep", recursive=True)
    assert a.exists("/deep") is None
    path, stat = a.create("/both", b"xyz", include_data=True)
    assert (path, stat.dataLength) == ("/both", 3)
    assert a.get_children("/", include_data=True)[1].numChildren == 2


@pytest.mark.parametrize(
    "recipe",
    [
        locks,
        a_lock_of_a_lost_client,
        read_and_write_locks,
        elections,
        counters,
        data_watches,
        children_watches,
        parties,
        barriers,
        double_barriers,
        queues,
        semaphores,
        transactions,
        digests,
        sequences_in_containers,
    ],
    ids=lambda recipe: recipe.__name__,
)
async def test_kazoos_recipes(recipe: Callable[[Connect], None], tmp_path: pathlib.Path) -> None:
    def run(port: int) -> None:
        with clients(port) as connect:
            recipe(connect)

    async with running_server(tmp_path, tick_ms=500) as running:
        await trio.to_thread.run_sync(run, running.address.port)
