"""What a broker tells, after steps whose outcome is known."""

import random
import uuid

from quorate.broker.lifecycle import (
    BrokerLifecycle,
    BrokerState,
    Event,
    HeartbeatAnswered,
    LifecycleSettings,
    Registered,
    RequestFailed,
    Started,
    TimePassed,
)
from quorate.broker.metrics import (
    ACCEPTED,
    EPOCH,
    FAILURES,
    FAMILIES,
    HEARTBEATS,
    REGISTRATIONS,
    SILENCE,
    STATE,
    broker_samples,
)
from quorate.metadata.metrics.declared import Family


class Life:
    def __init__(self) -> None:
        self.lifecycle = BrokerLifecycle(
            LifecycleSettings(), incarnation_id=uuid.UUID(int=1), rng=random.Random(1)
        )
        self.now_ms = 1_000

    def take(self, event: Event, later_ms: int = 0) -> None:
        self.now_ms += later_ms
        self.lifecycle.step(event, self.now_ms)

    def told(self) -> dict[Family, object]:
        return {sample.family: sample.value for sample in broker_samples(self.lifecycle, self.now_ms)}


def accepted(attempt: int) -> HeartbeatAnswered:
    return HeartbeatAnswered(attempt=attempt, is_caught_up=True, is_fenced=True, should_shut_down=False)


def test_before_it_starts() -> None:
    told = Life().told()

    assert (told[STATE], told[EPOCH], told[REGISTRATIONS], told[HEARTBEATS]) == ("not_running", -1, 0, 0)
    assert SILENCE not in told


def test_registered_at_the_second_try_and_heard_once() -> None:
    life = Life()
    life.take(Started())
    assert life.told()[REGISTRATIONS] == 1
    life.take(RequestFailed(1, "nobody there"))
    life.take(TimePassed(), later_ms=200)
    assert (life.told()[REGISTRATIONS], life.told()[FAILURES]) == (2, 1)
    life.take(Registered(2, broker_epoch=7))
    assert (life.told()[EPOCH], life.told()[HEARTBEATS], life.told()[ACCEPTED]) == (7, 1, 0)

    life.take(accepted(3))
    told = life.told()
    assert (told[STATE], told[ACCEPTED], told[SILENCE]) == ("recovery", 1, 0)

    life.take(accepted(3), later_ms=500)  # an answer to what was answered counts for nothing
    told = life.told()
    assert (told[ACCEPTED], told[SILENCE], told[FAILURES]) == (1, 0.5, 1)
    assert set(told) == set(FAMILIES)


def test_a_heartbeat_without_an_answer_is_a_failure() -> None:
    life = Life()
    life.take(Started())
    life.take(Registered(1, broker_epoch=7))
    life.take(TimePassed(), later_ms=LifecycleSettings().request_timeout_ms)

    told = life.told()
    assert (told[HEARTBEATS], told[ACCEPTED], told[FAILURES]) == (1, 0, 1)


def test_every_state_has_its_name() -> None:
    assert set(STATE.states) == {state.name.lower() for state in BrokerState}
