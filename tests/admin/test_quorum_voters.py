"""Plans of the commands that change who votes: what they would do and what they refuse, from one look."""

import random

import pytest
import trio

from quorate.admin import quorum_voters as voters
from quorate.admin.errors import Refused
from quorate.metadata.addresses import Address
from quorate.metadata.ids import ZERO_UUID, Endpoint, NodeId, ReplicaKey, random_uuid
from quorate.metadata.wire.raft import AddRaftVoterRequest, RemoveRaftVoterRequest

_RNG = random.Random(11)
KEYS = {n: ReplicaKey(NodeId(n), random_uuid(_RNG)) for n in (1, 2, 3, 4)}
NEW_3 = ReplicaKey(NodeId(3), random_uuid(_RNG))
HERE = Address("host", 9093)
AT_HERE = Endpoint("CONTROLLER", "host", 9093)


def look(*observers: ReplicaKey, among: tuple[int, ...] = (1, 2, 3)) -> voters.Look:
    return voters.Look(
        leader_id=1,
        voters={n: KEYS[n] for n in among},
        observers=observers,
        endpoints={n: Endpoint("CONTROLLER", f"host-{n}", 9093) for n in among},
    )


def to_add(seen: voters.Look, node_id: int, **options: object) -> tuple[voters.Step, ...]:
    return _run(voters.plan_to_add, seen, node_id, **options)


def to_replace(seen: voters.Look, node_id: int, **options: object) -> tuple[voters.Step, ...]:
    return _run(voters.plan_to_replace, seen, node_id, **options)


def _run(plan, seen, node_id, directory_id=None, address=HERE):
    """With an address given, nobody has to be asked."""
    return trio.run(plan, None, seen, node_id, directory_id, address)


def test_an_observer_becomes_a_voter() -> None:
    assert to_add(look(KEYS[4]), 4) == (voters.Step(adds=True, key=KEYS[4], endpoint=AT_HERE),)


def test_a_voter_is_asked_for_again_so_that_its_commit_is_certain() -> None:
    (step,) = to_add(look(), 3)
    assert (step.already, step.key) == (True, KEYS[3])


@pytest.mark.parametrize(
    ("seen", "node_id", "options", "said"),
    [
        (look(), 4, {}, "knows of no node 4"),
        (look(KEYS[4], ReplicaKey(NodeId(4), NEW_3.directory_id)), 4, {}, "several disks"),
        (look(), 3, {"directory_id": NEW_3.directory_id}, "with another disk"),
    ],
)
def test_what_is_not_added(seen, node_id, options, said) -> None:
    with pytest.raises(Refused, match=said):
        to_add(seen, node_id, **options)


def test_which_of_several_disks_can_be_said() -> None:
    other = ReplicaKey(NodeId(4), NEW_3.directory_id)
    (step,) = to_add(look(KEYS[4], other), 4, directory_id=other.directory_id)
    assert step.key == other


def test_a_voter_goes_with_the_disk_that_votes() -> None:
    assert voters.plan_to_remove(look(), 3, None) == (voters.Step(adds=False, key=KEYS[3]),)
    assert voters.plan_to_remove(look(), 4, None) == ()


@pytest.mark.parametrize(
    ("seen", "directory_id", "said"),
    [
        (look(), NEW_3.directory_id, "another disk than the named one"),
        (look(among=(3,)), None, "only voter"),
    ],
)
def test_who_is_not_removed(seen, directory_id, said) -> None:
    with pytest.raises(Refused, match=said):
        voters.plan_to_remove(seen, 3, directory_id)


def test_a_lost_disk_is_removed_before_the_new_one_is_added() -> None:
    steps = to_replace(look(NEW_3), 3)
    assert [(step.adds, step.key) for step in steps] == [(False, KEYS[3]), (True, NEW_3)]


def test_a_replacement_that_was_interrupted_goes_on_where_it_was() -> None:
    steps = to_replace(look(NEW_3, among=(1, 2)), 3)
    assert [(step.adds, step.key) for step in steps] == [(True, NEW_3)]


def test_nothing_is_replaced_by_nothing() -> None:
    with pytest.raises(Refused, match="No new disk"):
        to_replace(look(), 3)


def test_a_step_knows_when_it_is_done_and_how_to_ask_for_it() -> None:
    add = voters.Step(adds=True, key=KEYS[4], endpoint=AT_HERE)
    remove = voters.Step(adds=False, key=KEYS[3])
    assert (add.done_in(look()), remove.done_in(look())) == (False, False)
    assert (add.done_in(look(among=(1, 2, 4))), remove.done_in(look(among=(1, 2, 4)))) == (True, True)
    added, removed = add.request(700), remove.request(700)
    assert isinstance(added, AddRaftVoterRequest)
    assert (added.timeout_ms, added.listeners[0].name) == (700, "CONTROLLER")
    assert isinstance(removed, RemoveRaftVoterRequest)
    assert removed.voter_directory_id == KEYS[3].directory_id != ZERO_UUID
