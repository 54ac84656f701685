"""What a caller gets from a controller, API by API: nothing without a right, and with the right one all of it."""

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from quorate.controller.context import Context
from quorate.controller.operations import HANDLERS
from quorate.controller.result import ControllerResult
from quorate.controller.server import ControllerServer
from quorate.metadata.calls import envelope_of
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.kafka_serving import KafkaServing
from quorate.metadata.security.permissions import Operation, Permission
from quorate.metadata.wire import cluster
from quorate.metadata.wire.table import APIS, Access, holds_error, refusal
from quorate.metadata.wire.tokens import CreateDelegationTokenRequest, DescribeDelegationTokenRequest
from tests.controller.test_server import CLUSTER, Behind, Sent
from tests.controller.world import World, config
from tests.metadata.security.cases import READS, SECRET, WRITES, Case
from tests.metadata.security.rights import ALICE, Right, acl_records, on_cluster, on_topic

NODE = "User:node"
ANONYMOUS = "User:ANONYMOUS"
SOME_ID = uuid.UUID(int=1)


class Controller:
    """A controller with an authorizer, a cluster with one topic, and rights of alice."""

    def __init__(self, *rights: Right) -> None:
        self.world = World(config=config(has_authorizer=True, super_users=frozenset({NODE})))
        self.world.add_broker(1)
        self.world.add_topic(SECRET, (1,))
        self.grant(rights)

    def grant(self, rights: Iterable[Right]) -> None:
        self.world.replay(acl_records(rights))

    @property
    def secret(self) -> bytes:
        return self.world.topic(SECRET).id.bytes

    def handle(self, sent: Sent, *, loaded: bool = True) -> Behind:
        behind = Behind()
        behind.image = self.world.image
        behind.caught_up_image = self.world.image if loaded else None
        stands: Any = behind
        ControllerServer(
            config=self.world.config,
            machine=stands,
            node=stands,
            slow=stands,
            kafka=KafkaServing(stands, stands, CLUSTER),
            cluster_id=CLUSTER,
        ).handle(sent.call)
        return behind

    def ask(self, case: Case, principal: str = ALICE) -> tuple[Any, bytes, ControllerResult[Any] | None]:
        """(response, its frame, the result of a handler)."""
        request = case.request(self.world.topic(SECRET).id)
        sent = Sent(request, principal=principal)
        behind = self.handle(sent)
        if type(request) not in HANDLERS:
            return sent.answer, sent.frames[0], None
        (pending,) = behind.submitted
        context = self.world.context(permits=pending.permits, api_version=pending.api_version)
        result = decided(context, pending.request)
        sent.call.answer(result.response)
        return result.response, sent.frames[0], result


def decided(context: Context, request: Any) -> ControllerResult[Any]:
    """By the request's handler; one that refuses the whole request is answered as the active controller does."""
    try:
        return HANDLERS[type(request)](context, request)
    except RequestRejected as error:
        return ControllerResult([], refusal(request, error.code, error.message))


def without_own_words(case: Case, controller: Controller, frame: bytes) -> bytes:
    """What a frame says beyond what its asker said: names and ids are cut out of it."""
    asked = Sent(case.request(controller.world.topic(SECRET).id)).call.frame
    for word in (SECRET.encode(), controller.secret):
        if word in asked:
            frame = frame.replace(word, b"")
    return frame


ALL = [*READS, *WRITES]
TOKENS = {CreateDelegationTokenRequest.api_key, DescribeDelegationTokenRequest.api_key}
"""They ask who is there before they ask for rights: test_tokens, here and among the views."""


def test_every_api_that_asks_thing_by_thing_is_tried() -> None:
    behind: Any = Behind()
    served = ControllerServer(
        config=config(),
        machine=behind,
        node=behind,
        slow=behind,
        kafka=KafkaServing(behind, behind, CLUSTER),
        cluster_id=CLUSTER,
    ).serves
    per_resource = {key for key in served if APIS[key].access_at_controllers is Access.PER_RESOURCE}

    assert per_resource - TOKENS == {type(case.request(SOME_ID)).api_key for case in ALL}


@pytest.mark.parametrize("principal", [ANONYMOUS, ALICE])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_without_a_right_nothing_is_told_and_nothing_changes(case: Case, principal: str) -> None:
    controller = Controller(on_topic(Operation.READ, "another"), on_cluster(Operation.CLUSTER_ACTION))
    with capture_logs() as lines:
        response, frame, result = controller.ask(case, principal)

    told = without_own_words(case, controller, frame)
    assert SECRET.encode() not in told
    assert controller.secret not in told
    assert result is None or tuple(result.records) == ()
    if case.code is None:
        assert response.topics == ()
        assert lines == []
    else:
        assert holds_error(response, case.code)
        assert {line["event"] for line in lines} == {"denied"}
        assert {line["principal"] for line in lines} == {principal}


@pytest.mark.parametrize("case", ALL, ids=str)
def test_the_right_lets_it_in(case: Case) -> None:
    controller = Controller(*case.rights)
    with capture_logs() as lines:
        response, frame, result = controller.ask(case)

    assert case.code is None or not holds_error(response, case.code)
    assert [line for line in lines if line["event"] == "denied"] == []
    if case.changes:
        assert result is not None
        assert result.records
    elif case.code is None:
        assert SECRET.encode() in frame


@pytest.mark.parametrize(
    ("denied", "principal"),
    [([on_topic(Operation.WRITE, "mine")], ALICE), ([on_topic(Operation.ALL, "*")], ALICE), ([], ANONYMOUS)],
)
def test_a_right_to_write_that_is_denied_or_somebody_elses_brings_no_producer_id(
    denied: list[Right], principal: str
) -> None:
    """KIP-679: an ACL that allows it is not enough, it must be one that counts for the asker."""
    controller = Controller(on_topic(Operation.WRITE, "mine"))
    controller.world.replay(acl_records(denied, permission=Permission.DENY))
    case = next(case for case in WRITES if case.name.startswith("InitProducerId"))

    response, _, result = controller.ask(case, principal)

    assert response.error_code is ErrorCode.cluster_authorization_failed
    assert result is not None
    assert tuple(result.records) == ()


def test_a_topic_that_is_there_looks_like_one_that_is_not() -> None:
    controller = Controller()
    for case in READS:
        request = case.request(controller.world.topic(SECRET).id)
        if "by name" not in case.name:
            continue
        there, _, _ = controller.ask(case)
        absent = Sent(type(request)(topics=(type(request.topics[0])(name="absent"),)))
        controller.handle(absent)
        assert repr(absent.answer).replace("absent", SECRET) == repr(there)


def test_all_topics_are_those_that_may_be_seen_and_a_cursor_names_no_other() -> None:
    controller = Controller(on_topic(Operation.READ, "a"), on_topic(Operation.ALTER, "z"))
    controller.world.add_topic("a", (1,))
    controller.world.add_topic("z", (1,))

    for request in (cluster.MetadataRequest(topics=None), cluster.DescribeTopicPartitionsRequest()):
        sent = Sent(request)
        controller.handle(sent)
        assert sorted(topic.name for topic in sent.answer.topics) == ["a", "z"]
    sent = Sent(cluster.DescribeTopicPartitionsRequest(response_partition_limit=1))
    controller.handle(sent)
    assert [topic.name for topic in sent.answer.topics] == ["a"]
    assert sent.answer.next_cursor.topic_name == "z"


def test_authorized_operations_are_the_callers() -> None:
    controller = Controller(
        on_topic(Operation.READ, SECRET), on_cluster(Operation.ALTER), on_cluster(Operation.CREATE)
    )
    asked = cluster.MetadataRequest(
        topics=None, include_topic_authorized_operations=True, include_cluster_authorized_operations=True
    )
    sent = Sent(asked, 10)
    controller.handle(sent)

    (topic,) = sent.answer.topics
    assert topic.topic_authorized_operations == 1 << Operation.READ | 1 << Operation.DESCRIBE
    mine = 1 << Operation.ALTER | 1 << Operation.CREATE | 1 << Operation.DESCRIBE
    assert sent.answer.cluster_authorized_operations == mine

    nobody = Sent(asked, 10, principal=ANONYMOUS)
    controller.handle(nobody)
    assert nobody.answer.cluster_authorized_operations == 0


# ---- envelopes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", WRITES, ids=str)
def test_a_brokers_rights_are_not_its_clients(case: Case) -> None:
    """The sender of the envelope may do everything; what is inside is decided for who wrote it."""
    controller = Controller()
    inner = Sent(case.request(controller.world.topic(SECRET).id), principal=ALICE)
    outer = Sent(envelope_of(inner.call), principal=NODE)
    (pending,) = controller.handle(outer).submitted
    context = controller.world.context(permits=pending.permits, api_version=pending.api_version)
    result = decided(context, pending.request)

    assert tuple(result.records) == ()
    assert case.code is not None
    assert holds_error(result.response, case.code)


def test_an_envelope_needs_cluster_action_whoever_is_inside() -> None:
    inner = Sent(WRITES[0].request(SOME_ID), principal=NODE)
    outer = Sent(envelope_of(inner.call), principal=ALICE)
    behind = Controller(on_cluster(Operation.ALTER)).handle(outer)

    assert outer.answer.error_code is ErrorCode.cluster_authorization_failed
    assert behind.submitted == []


def test_what_an_acl_of_a_host_allows_depends_on_the_clients_host_and_not_the_brokers() -> None:
    controller = Controller()
    (record,) = acl_records([on_topic(Operation.DELETE, SECRET)])
    controller.world.replay([type(record)(**{**_fields(record), "host": "10.0.0.7"})])
    inner = Sent(WRITES[3].request(controller.world.topic(SECRET).id))
    outer = Sent(envelope_of(inner.call), principal=NODE)
    outer.call.client_host = "10.9.9.9"
    (pending,) = controller.handle(outer).submitted

    assert pending.permits(*on_topic(Operation.DELETE, SECRET))


def _fields(record: Any) -> dict[str, Any]:
    names = ("id", "resource_type", "resource_name", "pattern_type", "principal", "operation")
    return {name: getattr(record, name) for name in (*names, "permission_type")}


def test_before_the_log_is_loaded_only_super_users_are_heard() -> None:
    controller = Controller(on_topic(Operation.DESCRIBE, SECRET))
    everything = READS[0].request(SOME_ID)
    early, node = Sent(everything), Sent(everything, principal=NODE)
    controller.handle(early, loaded=False)
    controller.handle(node, loaded=False)

    assert early.answer.topics == ()
    assert [topic.name for topic in node.answer.topics] == [SECRET]
