"""Who may log in at a broker in ZooKeeper mode."""

import json

import trio
from trio.testing import MockClock

from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.broker.zookeeper_registration import ensure_path, ensure_paths
from quorate.broker.zookeeper_users import UserFollower, needs_users
from quorate.metadata.zookeeper.embedded import EmbeddedServer, EmbeddedZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from tests.controller.zookeeper_world import until

SCRAM = "salt=bXNhbHQ=,stored_key=c2s=,server_key=c3Y=,iterations=4096"


async def announced(session: EmbeddedZooKeeper, user: str, config: dict[str, str]) -> None:
    """A user's znode, and the notification that whoever writes it leaves."""
    path = paths.user(user)
    data = json.dumps({"version": 1, "config": config}).encode()
    if await session.exists(path) is None:
        await session.create(path, data)
    else:
        await session.set(path, data)
    await session.create(paths.CONFIG_CHANGE_PREFIX, b'{"version":2,"entity_path":"users"}', sequential=True)


async def followed(nursery: trio.Nursery) -> tuple[EmbeddedZooKeeper, UserFollower]:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    await announced(session, "alice", {"SCRAM-SHA-512": SCRAM, "consumer_byte_rate": "1048576"})
    follower = UserFollower(server.connect())
    await nursery.start(follower.run)
    return session, follower


def users(follower: UserFollower) -> set[str]:
    return {user for user, _ in follower.image.credentials.by_user}


async def test_credentials_are_there_from_the_start(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    _, follower = await followed(nursery)

    ((_, credential),) = follower.image.credentials.by_user.items()
    assert (users(follower), credential.iterations, credential.salt) == ({"alice"}, 4096, b"msalt")


async def test_who_is_added_or_removed_is_known_as_soon_as_it_is_announced(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    session, follower = await followed(nursery)
    await announced(session, "User/1@prod", {"SCRAM-SHA-256": SCRAM})
    await until(lambda: users(follower) == {"alice", "User/1@prod"})
    await announced(session, "alice", {"consumer_byte_rate": "1048576"})
    await until(lambda: users(follower) == {"User/1@prod"})


async def test_tokens_are_followed_where_there_were_none_at_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    session, follower = await followed(nursery)
    token = {
        "version": 3,
        "owner": "User%3Aalice",
        "tokenRequester": "User%3Aalice",
        "renewers": [],
        "issueTimestamp": 1,
        "maxTimestamp": 3,
        "expiryTimestamp": 2,
        "tokenId": "p0Xq",
    }
    await ensure_path(session, paths.TOKENS)
    await ensure_path(session, paths.TOKEN_CHANGES)
    await session.create(paths.token("p0Xq"), json.dumps(token).encode())
    await session.create(paths.TOKEN_CHANGE_PREFIX, b"p0Xq", sequential=True)

    await until(lambda: "p0Xq" in follower.image.tokens.by_id)


async def test_news_during_a_lost_connection_are_read_after_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = EmbeddedServer()
    session, its_own = server.connect(), server.connect()
    await ensure_paths(session)
    follower = UserFollower(its_own)
    await nursery.start(follower.run)
    its_own.hold_back()
    await announced(session, "bob", {"SCRAM-SHA-256": SCRAM})
    await trio.sleep(1)
    assert users(follower) == set()
    its_own.let_in()
    await until(lambda: users(follower) == {"bob"})


def test_only_listeners_with_scram_need_them() -> None:
    common = {"broker.id": "1", "zookeeper.connect": "zk:2181", "listeners": "A://h:1"}
    scram = {
        "listener.security.protocol.map": "A:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,PLAIN",
        "listener.name.a.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="b" password="p" user_b="p";',
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
    }
    clear = {"listener.security.protocol.map": "A:PLAINTEXT"}

    assert needs_users(ZooKeeperBrokerConfig.of(common | scram))
    assert not needs_users(ZooKeeperBrokerConfig.of(common | clear))
