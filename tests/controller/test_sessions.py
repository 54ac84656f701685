"""Broker sessions: who was heard of when, and who may leave."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quorate.controller.sessions import BrokerSessions
from quorate.metadata.ids import NodeId
from quorate.metadata.image.cluster import BrokerRegistration
from tests.controller.world import incarnation

TIMEOUT_MS = 100


def broker(
    broker_id: int, epoch: int = 1, *, fenced: bool = False, shutting_down: bool = False
) -> BrokerRegistration:
    return BrokerRegistration(
        id=NodeId(broker_id),
        epoch=epoch,
        incarnation_id=incarnation(broker_id),
        listeners=(),
        fenced=fenced,
        in_controlled_shutdown=shutting_down,
    )


def sessions(*brokers: BrokerRegistration) -> BrokerSessions:
    made = BrokerSessions(TIMEOUT_MS)
    made.restart(brokers, 0)
    return made


def test_a_restart_grants_a_full_session_to_everyone() -> None:
    made = BrokerSessions(TIMEOUT_MS)

    made.restart([broker(1), broker(2)], 1_000)

    assert made.next_expiry_ms() == 1_100
    assert [*made.expired(1_099)] == []
    assert [*made.expired(1_100)] == [1, 2]


def test_the_longest_silent_comes_first() -> None:
    made = sessions(broker(1), broker(2), broker(3))
    made.touch(3, 1, 0, 20)
    made.touch(1, 1, 0, 30)

    assert made.next_expiry_ms() == 100
    assert [*made.expired(200)] == [2, 3, 1]
    assert [*made.expired(120)] == [2, 3]


def test_fenced_brokers_do_not_expire_and_are_not_alive() -> None:
    made = sessions(broker(1, fenced=True))

    assert made.next_expiry_ms() is None
    assert [*made.expired(10_000)] == []
    assert not made.is_alive(1, 1, 0)


def test_a_session_begins_with_the_lifted_fence() -> None:
    made = sessions(broker(1, fenced=True))

    made.follow(1, broker(1), 500)

    assert made.next_expiry_ms() == 600
    assert made.is_alive(1, 1, 599)
    assert not made.is_alive(1, 1, 600)
    assert not made.is_alive(1, 2, 500)


def test_only_the_present_registration_can_be_heard_of() -> None:
    made = sessions(broker(1, epoch=5))

    assert not made.touch(1, 4, 0, 50)
    assert not made.touch(2, 5, 0, 50)
    assert made.next_expiry_ms() == 100
    assert made.touch(1, 5, 0, 50)
    assert made.next_expiry_ms() == 150


def test_a_registration_that_ends_takes_its_session_along() -> None:
    made = sessions(broker(1), broker(2))

    made.follow(1, None, 10)

    assert [*made.expired(1_000)] == [2]
    assert not made.touch(1, 1, 0, 20)


def test_a_new_registration_begins_with_nothing_read() -> None:
    made = sessions(broker(1), broker(2))
    made.touch(2, 1, 50, 10)
    made.follow(1, broker(1, shutting_down=True), 10)
    made.settled(1, 40, 10)
    assert made.may_leave(1, 10)

    made.follow(2, broker(2, epoch=2), 10)

    assert not made.may_leave(1, 10)


def test_a_broker_leaves_when_all_active_ones_know() -> None:
    made = sessions(broker(1, shutting_down=True), broker(2), broker(3), broker(4, fenced=True))
    assert not made.may_leave(1, 0), "nothing was handed over yet"

    made.settled(1, 40, 0)
    assert not made.may_leave(1, 0)
    made.touch(2, 1, 40, 0)
    made.touch(3, 1, 39, 0)
    assert not made.may_leave(1, 0)
    made.touch(3, 1, 41, 0)
    assert made.may_leave(1, 0)


def test_a_slow_broker_holds_a_shutdown_back_for_one_session_only() -> None:
    made = sessions(broker(1, shutting_down=True), broker(2))
    made.settled(1, 40, 500)

    assert not made.may_leave(1, 599)
    assert made.may_leave(1, 600)


def test_an_active_broker_has_handed_nothing_over() -> None:
    made = sessions(broker(1), broker(2))
    made.touch(2, 1, 10, 0)
    made.settled(1, 5, 0)

    made.follow(1, broker(1, shutting_down=True), 1)

    assert not made.may_leave(1, 1)
    made.settled(1, 10, 1)
    assert made.may_leave(1, 1)


def test_who_is_settled() -> None:
    made = sessions(broker(1))
    assert made.is_settled(1)
    made.unsettled(1)
    made.unsettled(9)
    assert not made.is_settled(1)
    made.settled(1, 5, 0)
    made.settled(9, 5, 0)
    assert made.is_settled(1)
    assert made.is_settled(9)


def test_what_was_read_stays_read() -> None:
    made = sessions(broker(1, shutting_down=True), broker(2))
    made.settled(1, 40, 0)
    made.touch(2, 1, 40, 0)
    made.touch(2, 1, 10, 0)

    assert made.may_leave(1, 0)


def test_the_first_handover_counts() -> None:
    made = sessions(broker(1, shutting_down=True), broker(2))
    made.settled(1, 40, 0)
    made.settled(1, 90, 50)
    made.touch(2, 1, 40, 0)

    assert made.may_leave(1, 0)


def test_our_own_silence_is_forgiven() -> None:
    made = sessions(broker(1), broker(2))
    made.touch(2, 1, 0, 10)

    made.forgive(1_000)

    assert made.next_expiry_ms() == 1_100
    assert [*made.expired(1_105)] == [1]


def test_further_silences_are_forgiven_up_to_one_session_until_the_broker_is_heard_of_again() -> None:
    made = sessions(broker(1), broker(2))
    made.forgive(60)
    made.touch(2, 1, 0, 70)
    made.forgive(60)

    assert [*made.expired(199)] == []
    assert [*made.expired(200)] == [1]
    assert [*made.expired(230)] == [1, 2]


class SessionsAgainstAModel(RuleBasedStateMachine):
    """Against plain dicts, whatever the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = BrokerSessions(TIMEOUT_MS)
        self.now_ms = 0
        self.registered: dict[int, tuple[int, bool]] = {}
        self.heard_ms: dict[int, int] = {}
        self.forgiven_ms: dict[int, int] = {}

    def heard(self, broker_id: int) -> None:
        self.heard_ms[broker_id] = self.now_ms
        self.forgiven_ms[broker_id] = 0

    @rule(broker_id=st.integers(1, 4), fenced=st.booleans(), renew=st.booleans())
    def register(self, broker_id: int, fenced: bool, renew: bool) -> None:
        epoch, was_fenced = self.registered.get(broker_id, (0, True))
        if renew or epoch == 0:
            epoch += 1
            was_fenced = True
            self.heard(broker_id)
        if was_fenced and not fenced:
            self.heard(broker_id)
        self.registered[broker_id] = (epoch, fenced)
        self.sessions.follow(broker_id, broker(broker_id, epoch, fenced=fenced), self.now_ms)

    @rule(broker_id=st.integers(1, 4))
    def unregister(self, broker_id: int) -> None:
        self.registered.pop(broker_id, None)
        self.forgiven_ms.pop(broker_id, None)
        self.sessions.follow(broker_id, None, self.now_ms)

    @rule(broker_id=st.integers(1, 4), old=st.booleans())
    def heartbeat(self, broker_id: int, old: bool) -> None:
        epoch = self.registered.get(broker_id, (0, True))[0] - old
        known = broker_id in self.registered and not old
        assert self.sessions.touch(broker_id, epoch, 0, self.now_ms) == known
        if known:
            self.heard(broker_id)

    @rule(passed_ms=st.integers(1, 60))
    def wait(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(silence_ms=st.integers(1, 200))
    def stall(self, silence_ms: int) -> None:
        self.now_ms += silence_ms
        self.sessions.forgive(silence_ms)
        for broker_id, forgiven_ms in self.forgiven_ms.items():
            left_ms = max(0, TIMEOUT_MS - forgiven_ms)
            granted_ms = min(silence_ms, left_ms) if forgiven_ms else silence_ms
            self.heard_ms[broker_id] += granted_ms
            self.forgiven_ms[broker_id] += granted_ms

    @invariant()
    def agrees(self) -> None:
        live = {b: self.heard_ms[b] for b, (_, fenced) in self.registered.items() if not fenced}
        ends = {b: ms + TIMEOUT_MS for b, ms in live.items()}
        assert self.sessions.next_expiry_ms() == min(ends.values(), default=None)
        expired = [*self.sessions.expired(self.now_ms)]
        assert set(expired) == {b for b, end in ends.items() if end <= self.now_ms}
        assert [ends[b] for b in expired] == sorted(ends[b] for b in expired)
        for broker_id, (epoch, _) in self.registered.items():
            alive = broker_id in ends and self.now_ms < ends[broker_id]
            assert self.sessions.is_alive(broker_id, epoch, self.now_ms) == alive


TestSessionsAgainstAModel = SessionsAgainstAModel.TestCase
TestSessionsAgainstAModel.settings = settings(max_examples=40, stateful_step_count=30)
