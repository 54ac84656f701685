"""What a caller gets from a broker, API by API: what it answers itself by right, what it forwards unasked."""

from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from quorate.broker.server import BrokerServer
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.security.permissions import Operation, Permission
from quorate.metadata.slow_reads import SLOW_PARTITIONS, SlowReads
from quorate.metadata.wire import cluster
from quorate.metadata.wire.table import APIS, Access, holds_error
from quorate.metadata.wire.tokens import DescribeDelegationTokenRequest
from tests.broker.test_server import CONFIG
from tests.controller.test_server import Sent
from tests.metadata.security.cases import BROKER_READS, READS, SECRET, WRITES, Case
from tests.metadata.security.rights import ALICE, Right, acl_records, on_cluster, on_topic
from tests.metadata.views.small_clusters import Broker, Cluster, Partition

ANONYMOUS = "User:ANONYMOUS"
ALL_READS = (*READS, *BROKER_READS)
GUARDED = attrs.evolve(CONFIG, has_authorizer=True, super_users=frozenset({"User:node"}))
CLUSTER = Cluster(
    brokers={1: Broker(listeners={"CONTROLLER": 9092})},  # the listener of the calls below
    topics={SECRET: (Partition(replicas=(1,), isr=(1,), leader=1),)},
)
SECRET_ID = CLUSTER.topic_id(SECRET)


def with_rights(
    base: MetadataImage, rights: Iterable[Right], permission: Permission = Permission.ALLOW
) -> MetadataImage:
    delta = MetadataDelta(base)
    delta.replay_all(list(acl_records(rights, permission=permission)))
    return delta.apply(Provenance(offset=base.offset + 1, epoch=1, append_time_ms=0))


class OneBroker:
    """A broker with an authorizer; it is its own relay, and only notes what is forwarded."""

    def __init__(self, *rights: Right, published: bool = True) -> None:
        self.image = with_rights(CLUSTER.image(), rights)
        self.forwarded: list[Any] = []
        relay: Any = self
        self.server = BrokerServer(
            config=GUARDED,
            cluster_id="a-cluster",
            image=lambda: self.image if published else MetadataImage.EMPTY,
            published=lambda: self.image if published else None,
            relay=relay,
            slow=SlowReads(),
            kraft_version=lambda: 1,
            controller_versions=lambda: None,
        )

    def forward(self, call: Any) -> None:
        self.forwarded.append(call)

    def ask(self, request: Any, principal: str = ALICE, version: int | None = None) -> Sent:
        sent = Sent(request, version, principal=principal)
        self.server.handle(sent.call)
        return sent


def test_every_api_that_is_answered_here_thing_by_thing_is_tried() -> None:
    own = {key for key in OneBroker().server.serves if not APIS[key].forwardable}
    per_resource = {key for key in own if APIS[key].access is Access.PER_RESOURCE}

    assert per_resource - {
        cluster.DescribeClusterRequest.api_key,
        DescribeDelegationTokenRequest.api_key,
    } == {case.request(SECRET_ID).api_key for case in ALL_READS}


@pytest.mark.parametrize("principal", [ANONYMOUS, ALICE])
@pytest.mark.parametrize("case", ALL_READS, ids=str)
def test_without_a_right_nothing_is_told(case: Case, principal: str) -> None:
    broker = OneBroker(on_topic(Operation.READ, "another"), on_cluster(Operation.CLUSTER_ACTION))
    with capture_logs() as lines:
        sent = broker.ask(case.request(SECRET_ID), principal)

    asked = sent.call.frame
    assert SECRET_ID.bytes in asked or SECRET_ID.bytes not in sent.frames[0]
    assert SECRET.encode() in asked or SECRET.encode() not in sent.frames[0]
    assert broker.forwarded == []
    if case.code is None:
        assert (sent.answer.topics, lines) == ((), [])
    else:
        assert holds_error(sent.answer, case.code)
        assert {line["event"] for line in lines} == {"denied"}


@pytest.mark.parametrize("case", ALL_READS, ids=str)
def test_the_right_lets_it_in(case: Case) -> None:
    sent = OneBroker(*case.rights).ask(case.request(SECRET_ID))

    assert case.code is None or not holds_error(sent.answer, case.code)
    assert case.code is not None or SECRET.encode() in sent.frames[0]


@pytest.mark.parametrize("case", WRITES, ids=str)
def test_what_the_controller_decides_is_forwarded_as_it_came(case: Case) -> None:
    broker = OneBroker()
    sent = broker.ask(case.request(SECRET_ID), ANONYMOUS)

    assert broker.forwarded == [sent.call]
    assert sent.call.principal == ANONYMOUS


def test_the_cluster_is_described_to_everybody_and_its_rights_to_those_who_have_them() -> None:
    request = cluster.DescribeClusterRequest(include_cluster_authorized_operations=True)
    broker = OneBroker(on_cluster(Operation.ALTER_CONFIGS), on_cluster(Operation.DESCRIBE))

    mine, nobodys = broker.ask(request).answer, broker.ask(request, ANONYMOUS).answer
    assert [node.broker_id for node in nobodys.brokers] == [1]
    assert nobodys.cluster_authorized_operations == 0
    assert mine.cluster_authorized_operations == sum(
        1 << one for one in (Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS)
    )


# ---- topics on demand ------------------------------------------------------------------------------------

ON_DEMAND = cluster.MetadataRequest(topics=(cluster.MetadataRequestTopic(name="new"),))


@pytest.mark.parametrize("create", [on_topic(Operation.CREATE, "new"), on_cluster(Operation.CREATE)])
def test_a_topic_is_made_for_those_who_may_see_and_create_it(create: Right) -> None:
    broker = OneBroker(on_topic(Operation.DESCRIBE, "new"), create)
    (topic,) = broker.ask(ON_DEMAND).answer.topics

    assert topic.error_code is ErrorCode.unknown_topic_or_partition
    (call,) = broker.forwarded
    assert (call.principal, call.request.topics[0].name) == (ALICE, "new")


@pytest.mark.parametrize(
    "rights", [(), (on_topic(Operation.DESCRIBE, "new"),), (on_cluster(Operation.CREATE),)]
)
def test_and_for_nobody_else(rights: tuple[Right, ...]) -> None:
    broker = OneBroker(*rights)
    (topic,) = broker.ask(ON_DEMAND).answer.topics

    assert (topic.error_code, topic.name) == (ErrorCode.topic_authorization_failed, "new")
    assert broker.forwarded == []


def test_who_does_not_want_it_made_needs_no_right_to_make_it() -> None:
    request = attrs.evolve(ON_DEMAND, allow_auto_topic_creation=False)
    (topic,) = OneBroker(on_topic(Operation.DESCRIBE, "new")).ask(request).answer.topics

    assert topic.error_code is ErrorCode.unknown_topic_or_partition


# ---- before and beside -----------------------------------------------------------------------------------


def test_before_the_first_image_only_super_users_are_heard() -> None:
    broker = OneBroker(on_cluster(Operation.DESCRIBE), published=False)
    asked = [api for key, api in APIS.items() if key in broker.server.serves and api.name == "DescribeAcls"]
    request = asked[0].request(resource_type_filter=1, pattern_type_filter=1, operation=1, permission_type=1)

    assert broker.ask(request).answer.error_code is ErrorCode.cluster_authorization_failed
    assert broker.ask(request, "User:node").answer.error_code is ErrorCode.none


def test_a_large_answer_of_one_is_never_told_to_another() -> None:
    """What `SlowReads` keeps is told again to the same question; who asks is part of it, and so are the ACLs."""
    many = tuple(Partition(replicas=(1,), isr=(1,), leader=1) for _ in range(SLOW_PARTITIONS + 1))
    image = Cluster(brokers=CLUSTER.brokers, topics={SECRET: many}).image()
    asked: list[Any] = []

    class Slow(SlowReads):
        def answer(self, call: Any, work: Any, sources: Any = None) -> None:
            asked.append(sources)

    broker = OneBroker()
    broker.image = image
    broker.server._reads._slow = Slow()
    for principal in (ALICE, ANONYMOUS):
        broker.ask(cluster.MetadataRequest(topics=None), principal)
    broker.image = with_rights(image, [on_topic(Operation.DESCRIBE, SECRET)])
    broker.ask(cluster.MetadataRequest(topics=None), ALICE)

    alice, anonymous, later = asked
    assert alice.asked_from != anonymous.asked_from
    assert alice.asked_from == later.asked_from
    assert alice.parts[2] is not later.parts[2]
