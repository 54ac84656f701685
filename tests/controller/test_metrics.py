"""What a controller tells, after steps whose outcome is known."""

import attrs

from quorate.controller.counters import Counters
from quorate.controller.metrics import ACTIVE, COUNTERS, FAMILIES, PARKED, QUEUE, controller_samples
from quorate.metadata.metrics.declared import Family
from tests.controller.desk import Desk, create, registration, running_desk


def values(desk: Desk) -> dict[Family, object]:
    return {sample.family: sample.value for sample in controller_samples(desk.controller)}


def test_every_counter_is_told() -> None:
    assert COUNTERS.keys() == {field.name for field in attrs.fields(Counters)}
    assert set(values(Desk())) == set(FAMILIES)


def test_active_or_not() -> None:
    desk = Desk()
    assert values(desk)[ACTIVE] == 0

    desk.lead()
    assert values(desk)[ACTIVE] == 1
    assert values(desk)[COUNTERS["times_active"]] == 1

    desk.lose()
    assert values(desk)[ACTIVE] == 0
    assert values(desk)[COUNTERS["times_active"]] == 1


def test_a_request_on_its_way() -> None:
    desk = running_desk()
    before = values(desk)
    desk.submit(create("t"))
    assert (values(desk)[QUEUE], values(desk)[PARKED]) == (1, 0)

    desk.turn()
    assert (values(desk)[QUEUE], values(desk)[PARKED]) == (0, 1)

    desk.commit()
    after = values(desk)
    assert (after[QUEUE], after[PARKED]) == (0, 0)
    records = COUNTERS["records_appended"]
    assert int(str(after[records])) - int(str(before[records])) == 2  # the topic and its partition


def test_a_request_that_was_refused() -> None:
    desk = running_desk()
    assert values(desk)[COUNTERS["requests_rejected"]] == 0

    desk.ask(attrs.evolve(registration(5), cluster_id="another"))

    assert values(desk)[COUNTERS["requests_rejected"]] == 1


def test_each_session_that_ended_is_counted_once() -> None:
    desk = running_desk()
    desk.broker(2)
    desk.pass_time(8_999)
    assert values(desk)[COUNTERS["sessions_expired"]] == 0

    desk.pass_time(20_000)

    assert desk.is_fenced(1)
    assert desk.is_fenced(2)
    assert values(desk)[COUNTERS["sessions_expired"]] == 2


def test_milliseconds_are_told_as_seconds() -> None:
    desk = running_desk()
    desk.controller.counters.silence_forgiven_ms = 1_500

    assert values(desk)[COUNTERS["silence_forgiven_ms"]] == 1.5
