"""The office in ZooKeeper mode when anything befalls it at any call: what was acknowledged stays, nothing is half done.

One story is told again and again, each time with one mishap at another call that the holder of the office makes:
enumerated, not drawn. By default every third call is tried, in the full matrix each of them.
"""

import os

import pytest
import trio
from trio.testing import MockClock

from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.zookeeper.embedded import Call, Fault
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.troubles import Severity
from tests.controller.test_zookeeper_mode import claim_by_hand
from tests.controller.zookeeper_world import Moved, World, same_but_for_ids, until, world

STEP = 1 if os.environ.get("TESTS_FULL") else 3
_TRY_AGAIN = (ErrorCode.request_timed_out, ErrorCode.not_controller)
REPLACED = "replaced"
"""Another one claims the office between the decision and the call, and is gone a moment later."""


class Mishap:
    """What befalls the n-th call of whoever holds the office."""

    def __init__(self, world: World, kind: Fault | str, at: int) -> None:
        self.calls = 0
        self.happened = False
        self._world = world
        self._kind = kind
        self._at = at

    def __call__(self, call: Call) -> Fault | None:
        holder = self._world.tree.get(paths.CONTROLLER)
        if holder is None or holder.stat.ephemeral_owner != call.session:
            return None
        self.calls += 1
        if self.happened or self.calls <= self._at:
            return None
        self.happened = True
        if isinstance(self._kind, Fault):
            return self._kind
        rival = claim_by_hand(self._world)
        self._world.nursery.start_soon(self._gone, rival)
        return None

    async def _gone(self, session: int) -> None:
        await trio.sleep(2)
        self._world.server.expire(session)


async def _tell_story(w: World) -> dict[str, bool]:
    """What a stubborn client does; topic -> whether it is to be there."""
    there: dict[str, bool] = {}
    for name in ("one", "two", "three"):
        await _insist(w, "create", name)
        there[name] = True
    await _insist(w, "configure", "two")
    if 3 in w.brokers:
        w.kill(w.brokers[3])
    await _insist(w, "delete", "one")
    there["one"] = False
    await _insist(w, "create", "four")
    there["four"] = True
    return there


async def _insist(w: World, what: str, name: str) -> None:
    """Until it is acknowledged, or it shows that it was done before the answer was lost."""
    done = {
        "create": (ErrorCode.none, ErrorCode.topic_already_exists),
        "delete": (ErrorCode.none, ErrorCode.unknown_topic_or_partition),
        "configure": (ErrorCode.none,),
    }[what]
    while True:
        leader = await w.leader()
        try:
            match what:
                case "create":
                    (code,) = await leader.create(name)
                case "delete":
                    (code,) = await leader.delete(name)
                case _:
                    code = await leader.set_config(ResourceType.TOPIC, name, "retention.ms", "7")
        except Moved:
            await trio.sleep(0.01)
            continue
        if code in done:
            return
        assert code in _TRY_AGAIN, code


async def _check(w: World, there: dict[str, bool]) -> None:
    await until(w.all_are_served)
    for name, wanted in there.items():
        assert (paths.topic(name) in w.tree) is wanted, name
    leader = await w.leader()
    await until(lambda: _is_settled(w))
    image = leader.office.image()
    loaded = w.loaded()
    assert image is not None
    assert same_but_for_ids(image, loaded.image) == []
    assert not loaded.repairs
    assert dict(image.configs.of(ResourceType.TOPIC, "two")) == {"retention.ms": "7"}
    assert not w.reading().of(Severity.BLOCKER)


def _is_settled(w: World) -> bool:
    """Every partition is led by a broker that is there, and has all of them that hold it in sync."""
    for topic in w.loaded().image.topics:
        for index, partition in topic.partitions():
            living = {one for one in partition.replicas if one in w.brokers}
            state, _ = w.state(topic.name, index)
            if set(state.isr) != living or state.leader not in living:
                return False
    return True


@pytest.mark.parametrize("kind", [*Fault, REPLACED])
async def test_one_mishap_at_any_call(kind: Fault | str, autojump_clock: MockClock) -> None:
    at, tried = 0, 0
    while True:
        async with world() as w:
            mishap = Mishap(w, kind, at)
            w.server.fault = mishap
            there = await _tell_story(w)
            await _check(w, there)
            w.server.fault = lambda _: None
        if not mishap.happened:
            break
        at, tried = at + STEP, tried + 1
    assert tried >= 10 // STEP
