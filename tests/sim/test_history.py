"""The checker of histories is checked: with histories that are fine, and with each kind that is not."""

from collections.abc import Sequence

from tests.sim.history import Ending, History, Kind, Operation, Sight


class Story:
    """A history told step by step; every step takes one moment."""

    def __init__(self) -> None:
        self.history = History()
        self._moment = 0

    def begin(self, kind: Kind, count: int = 1) -> Operation:
        self._moment += 1
        return self.history.begin(1, kind, "t", self._moment, count)

    def end(self, operation: Operation, ending: Ending = Ending.DONE) -> Operation:
        self._moment += 1
        operation.ending, operation.ended = ending, self._moment
        return operation

    def do(self, kind: Kind, ending: Ending = Ending.DONE, count: int = 1) -> Operation:
        return self.end(self.begin(kind, count), ending)

    def read(self, *seen: object, stale: bool = True) -> None:
        operation = self.do(Kind.READ)
        operation.seen = (int(str(seen[0])), str(seen[1])) if seen else None
        operation.stale = stale

    def is_fine(self, *effects: str) -> bool:
        return self.history.problem({"t": effects}) is None


def created(operation: Operation) -> Sequence[str]:
    return ("created", operation.value, *["partition"] * operation.count)


def test_what_was_done_one_after_the_other_is_fine() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    change = story.do(Kind.SET)
    story.read(1, change.value)
    story.do(Kind.GROW, count=3)
    story.do(Kind.DELETE)
    story.do(Kind.SET, Ending.REFUSED)
    story.read()

    assert story.is_fine(*created(create), change.value, "partition", "partition", "deleted")


def test_what_was_acknowledged_and_is_not_in_the_log_is_no_history() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    story.do(Kind.DELETE)

    assert not story.is_fine(*created(create))
    assert story.is_fine(*created(create), "deleted")


def test_what_is_in_the_log_and_nobody_did_is_no_history() -> None:
    story = Story()
    create = story.do(Kind.CREATE)

    assert not story.is_fine(*created(create), "deleted")


def test_a_delete_whose_outcome_nobody_learned_may_have_happened_or_not() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    story.begin(Kind.DELETE)

    assert story.is_fine(*created(create))
    assert story.is_fine(*created(create), "deleted")


def test_two_deletes_cannot_both_have_deleted_one_topic() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    story.do(Kind.DELETE)
    story.do(Kind.DELETE)

    assert not story.is_fine(*created(create), "deleted")


def test_of_two_at_once_the_later_one_may_come_first_but_not_of_two_in_turn() -> None:
    at_once, in_turn = Story(), Story()
    first, second = at_once.begin(Kind.CREATE), at_once.begin(Kind.SET)
    at_once.end(second, Ending.REFUSED)
    at_once.end(first)
    third = at_once.do(Kind.SET)
    assert at_once.is_fine(*created(first), third.value)

    create = in_turn.do(Kind.CREATE)
    one, other = in_turn.do(Kind.SET), in_turn.do(Kind.SET)
    assert not in_turn.is_fine(*created(create), other.value, one.value)


def test_an_old_answer_is_forgiven_only_where_it_is_allowed_to_be_old() -> None:
    for stale in (True, False):
        story = Story()
        create = story.do(Kind.CREATE)
        story.read(stale=stale)

        assert story.is_fine(*created(create)) is stale


def test_a_read_of_what_comes_later_is_never_fine() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    story.read(1, "100002")
    change = story.do(Kind.SET)
    change.value = "100002"

    assert not story.is_fine(*created(create), "100002")


def test_refused_for_a_topic_that_was_always_there_is_no_history() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    story.do(Kind.SET, Ending.REFUSED)

    assert not story.is_fine(*created(create))


def test_the_size_of_a_topic_is_looked_at_too() -> None:
    story = Story()
    create = story.do(Kind.CREATE, count=2)
    story.do(Kind.GROW, Ending.REFUSED, count=2)
    story.do(Kind.GROW, count=3)
    late = story.do(Kind.GROW, Ending.REFUSED, count=5)

    assert not story.is_fine(*created(create), "partition")
    story.history.operations.remove(late)
    assert story.is_fine(*created(create), "partition")


def test_a_read_that_shows_half_of_a_topic_is_held_to_that_half() -> None:
    for sight, seen, fine in (
        (Sight.PARTITIONS, (2, "9"), True),
        (Sight.PARTITIONS, (3, "9"), False),
        (Sight.VALUE, (9, "100001"), True),
        (Sight.VALUE, (9, "100002"), False),
    ):
        story = Story()
        create = story.do(Kind.CREATE, count=2)
        story.read(*seen, stale=False)
        story.history.operations[-1].sight = sight

        assert story.is_fine(*created(create)) is fine


def test_a_probe_says_whether_the_topic_is_there_and_changes_nothing() -> None:
    for ending, fine in ((Ending.REFUSED, True), (Ending.DONE, False)):
        story = Story()
        assert story.do(Kind.PROBE).ending is Ending.DONE
        create = story.do(Kind.CREATE)
        story.do(Kind.PROBE, ending)

        assert story.is_fine(*created(create)) is fine


def test_what_is_told_of_a_contradiction_is_what_lies_around_it() -> None:
    story = Story()
    create = story.do(Kind.CREATE)
    changes = [story.do(Kind.SET) for _ in range(200)]
    story.read(1, changes[100].value, stale=False)
    old = story.history.operations[-1]
    changes += [story.do(Kind.SET) for _ in range(200)]
    effects = (*created(create), *(one.value for one in changes))

    told = story.history.problem({"t": effects})
    assert told is not None
    assert f"cannot be: {old}" in told
    assert len(told.splitlines()) < 20
    story.history.operations.remove(old)
    assert story.is_fine(*effects)
