"""Laws of the broker's life cycle, whatever happens in whatever order."""

import itertools
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.broker.lifecycle import (
    TRANSITIONS,
    BrokerLifecycle,
    BrokerState,
    ControllerChanged,
    Entered,
    Event,
    HeartbeatAnswered,
    LifecycleSettings,
    Published,
    RecoveryFinished,
    Registered,
    RequestFailed,
    SeenRegistration,
    SendHeartbeat,
    SendRegistration,
    ShutDown,
    ShutdownRequested,
    Started,
    TimePassed,
    Why,
    become,
)
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Offset

OURS, THEIRS = uuid.UUID(int=1000), uuid.UUID(int=2000)
SETTINGS = LifecycleSettings()


@pytest.mark.parametrize(("state", "why"), list(itertools.product(BrokerState, Why)))
def test_every_pair_of_state_and_reason_is_in_the_table_or_refused(state: BrokerState, why: Why) -> None:
    if (state, why) in TRANSITIONS:
        assert become(state, why) is TRANSITIONS[state, why]
    else:
        with pytest.raises(InvariantViolated):
            become(state, why)


def test_nothing_leads_out_of_shutting_down_and_everything_leads_into_it() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is BrokerState.SHUTTING_DOWN]
    for state in set(BrokerState) - {BrokerState.SHUTTING_DOWN}:
        assert TRANSITIONS[state, Why.SHUTDOWN_AT_ONCE] is BrokerState.SHUTTING_DOWN


registrations = st.one_of(
    st.none(),
    st.builds(SeenRegistration, st.sampled_from([OURS, THEIRS]), st.integers(0, 30), st.booleans()),
)
attempts = st.integers(0, 12)
events: st.SearchStrategy[Event] = st.one_of(
    st.just(Started()),
    st.builds(Registered, attempts, st.integers(0, 30)),
    st.builds(
        HeartbeatAnswered,
        attempt=attempts,
        is_caught_up=st.booleans(),
        is_fenced=st.booleans(),
        should_shut_down=st.booleans(),
    ),
    st.builds(RequestFailed, attempts, st.just("why")),
    st.builds(Published, st.integers(-1, 60).map(Offset), registrations),
    st.just(RecoveryFinished()),
    st.just(ControllerChanged()),
    st.builds(ShutdownRequested, st.booleans()),
    st.just(TimePassed()),
)


@given(st.lists(st.tuples(events, st.integers(0, 5000)), max_size=60), st.integers(0, 5))
def test_whatever_happens(script: list[tuple[Event, int]], seed: int) -> None:
    lifecycle = BrokerLifecycle(SETTINGS, incarnation_id=OURS, rng=random.Random(seed))
    now_ms, newest, ended, published = 0, 0, False, Offset(-1)
    script.insert(0, (Started(), 0))
    for index, (event, wait_ms) in enumerate(script):
        if index and isinstance(event, Started):
            continue
        now_ms += wait_ms
        if isinstance(event, Published):
            published = event.offset
        before = lifecycle.state
        effects = lifecycle.step(event, now_ms)
        if ended:
            assert not effects
            assert lifecycle.next_deadline() is None
            continue
        for effect in effects:
            match effect:
                case SendRegistration():
                    assert effect.attempt > newest
                    assert lifecycle.broker_epoch is None
                    newest = effect.attempt
                case SendHeartbeat():
                    assert effect.attempt > newest
                    assert effect.broker_epoch == lifecycle.broker_epoch
                    assert effect.current_metadata_offset == published
                    assert effect.want_shut_down == (
                        lifecycle.state is BrokerState.PENDING_CONTROLLED_SHUTDOWN
                    )
                    newest = effect.attempt
                case Entered():
                    assert TRANSITIONS[before, effect.why] is effect.state
                    before = effect.state
                case ShutDown():
                    ended = True
        assert before is lifecycle.state
        assert sum(isinstance(effect, SendRegistration | SendHeartbeat) for effect in effects) <= 1
        assert ended == (lifecycle.state is BrokerState.SHUTTING_DOWN)
        deadline = lifecycle.next_deadline()
        assert ended or (
            deadline is not None and now_ms < deadline <= now_ms + SETTINGS.session_timeout_ms * 1.02
        )


def _running(settings: LifecycleSettings = SETTINGS) -> BrokerLifecycle:
    lifecycle = BrokerLifecycle(settings, incarnation_id=OURS, rng=random.Random(1))
    lifecycle.step(Started(), 0)
    lifecycle.step(Registered(1, 5), 0)
    lifecycle.step(Published(Offset(5), SeenRegistration(OURS, 5, True)), 0)
    lifecycle.step(RecoveryFinished(), 0)
    lifecycle.step(
        HeartbeatAnswered(attempt=2, is_caught_up=True, is_fenced=False, should_shut_down=False), 0
    )
    assert lifecycle.state is BrokerState.RUNNING
    return lifecycle


def test_without_controlled_shutdown_it_just_goes() -> None:
    lifecycle = _running(LifecycleSettings(controlled_shutdown_enable=False))

    effects = lifecycle.step(ShutdownRequested(), 10)

    assert effects[-1] == ShutDown(reason=Why.SHUTDOWN_AT_ONCE.value, clean=False)


def test_leave_that_nobody_asked_for_is_ignored() -> None:
    lifecycle = _running()
    lifecycle.step(TimePassed(), 2000)

    lifecycle.step(
        HeartbeatAnswered(attempt=3, is_caught_up=True, is_fenced=False, should_shut_down=True), 2001
    )

    assert lifecycle.state is BrokerState.RUNNING


def test_backoff_is_jittered_by_the_given_chance_and_stays_within_two_percent() -> None:
    waits = set()
    for seed in range(50):
        lifecycle = BrokerLifecycle(SETTINGS, incarnation_id=OURS, rng=random.Random(seed))
        now_ms = 0
        lifecycle.step(Started(), now_ms)
        for attempt in range(1, 5):
            lifecycle.step(RequestFailed(attempt, "refused"), now_ms)
            deadline = lifecycle.next_deadline()
            assert deadline is not None
            wait_ms, now_ms = deadline - now_ms, deadline
            lifecycle.step(TimePassed(), now_ms)
        assert 784 <= wait_ms <= 816
        waits.add(wait_ms)
    assert len(waits) > 10
