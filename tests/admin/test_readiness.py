"""When a cluster counts as serving."""

import pathlib

from quorate.admin.cluster_files import NodeFiles
from quorate.admin.readiness import judge
from quorate.metadata.connection import Failure, FailureKind
from quorate.metadata.ids import NodeId
from quorate.metadata.wire.cluster import MetadataResponse, MetadataResponseBroker


def _node(role, id):
    nowhere = pathlib.Path("x")
    return NodeFiles(role=role, id=NodeId(id), port=1, config=nowhere, data=nowhere, log=nowhere)


_CONTROLLERS = [_node("controller", id) for id in (1, 2, 3)]
_BROKERS = [_node("broker", id) for id in (101, 102)]


def _says(controller, *brokers):
    return MetadataResponse(
        controller_id=controller,
        brokers=tuple(MetadataResponseBroker(node_id=id, host="h", port=1) for id in brokers),
    )


def _answers(**changed):
    usual = {id: _says(2, 101, 102, 2) for id in (1, 2, 3)} | {id: _says(id, 101, 102) for id in (101, 102)}
    return usual | {int(name.removeprefix("n")): answer for name, answer in changed.items()}


def test_a_cluster_whose_nodes_agree_serves():
    found = judge(_CONTROLLERS, _BROKERS, _answers())

    assert (found.active, found.missing) == (2, None)


def test_a_silent_node_is_named_with_its_reason():
    silent = Failure(kind=FailureKind.REFUSED, written=False, text="nothing listens there")

    assert judge(_CONTROLLERS, _BROKERS, _answers(n102=silent)).missing == "broker-102: nothing listens there"


def test_a_controller_without_a_leader_is_not_ready():
    assert judge(_CONTROLLERS, _BROKERS, _answers(n3=_says(-1))).missing == (
        "controller-3 knows no active controller yet"
    )


def test_controllers_that_follow_different_ones_are_not_ready():
    assert "name different active ones" in judge(_CONTROLLERS, _BROKERS, _answers(n1=_says(1))).missing


def test_a_broker_that_does_not_see_its_fellow_is_not_ready():
    found = judge(_CONTROLLERS, _BROKERS, _answers(n101=_says(101, 101)))

    assert found.missing == "broker-101 does not see [102] among the unfenced brokers"


def test_only_those_who_run_are_asked():
    answers = {1: _says(2), 2: _says(2)}

    assert judge(_CONTROLLERS[:2], [], answers).missing is None
