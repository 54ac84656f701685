"""The controller's server: where each kind of request goes, and what is said without asking anybody.

Calls are real, with frames as they come over the wire; the node and the controller behind the server only note what
reaches them.
"""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.controller.operations import HANDLERS
from quorate.controller.requests import PendingRequest
from quorate.controller.server import ControllerServer
from quorate.metadata.batch import RecordBatch
from quorate.metadata.calls import Call, envelope_of
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.kafka_serving import KafkaServing
from quorate.metadata.quorum import messages
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.raft_wire import request_to_wire, response_from_wire, response_to_wire
from quorate.metadata.records import NoOpRecord
from quorate.metadata.wire import brokers, cluster, configs, raft, topics
from quorate.metadata.wire.envelope import EnvelopeRequest
from quorate.metadata.wire.table import APIS, decode_response, encode_request, encode_response
from tests.controller.world import config
from tests.metadata.wire.messages import values
from tests.paper.bench import KEYS, Bench

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
ENVELOPE = EnvelopeRequest.api_key
LEADER = LeaderAndEpoch(Epoch(4), NodeId(2), Endpoint("CONTROLLER", "host-2", 9002))
CREATE = topics.CreateTopicsRequest(
    topics=(topics.CreatableTopic(name="a", num_partitions=1, replication_factor=1),), timeout_ms=7_000
)
HEARTBEAT = brokers.BrokerHeartbeatRequest(broker_id=1, broker_epoch=5, current_metadata_offset=9)
REGISTER_CONTROLLER = brokers.ControllerRegistrationRequest(
    controller_id=3, incarnation_id=KEYS[1].directory_id
)
NOW_MS = 50_000


METADATA = cluster.MetadataRequest(topics=())
DESCRIBE_CONFIGS = configs.DescribeConfigsRequest(
    resources=(configs.DescribeConfigsResource(resource_type=2, resource_name="orders"),)
)


class Behind:
    """What stands behind the server: the node, and the active controller's machine."""

    def __init__(self) -> None:
        self.core = Bench().core
        self.claimed_epoch: Epoch | None = None
        self.image = MetadataImage.EMPTY
        self.caught_up_image: MetadataImage | None = self.image
        self.leader = LeaderAndEpoch(Epoch(0))
        self.received: list[tuple[messages.Request, str | None, Callable[[Any], None]]] = []
        self.submitted: list[PendingRequest] = []
        self.reads: list[Callable[[bool], None]] = []

    def receive(
        self, request: messages.Request, cluster_id: str | None, reply: Callable[[Any], None]
    ) -> None:
        self.received.append((request, cluster_id, reply))

    def now_ms(self) -> int:
        return NOW_MS

    def submit(self, pending: PendingRequest) -> None:
        self.submitted.append(pending)

    def confirm_read(self, tell: Callable[[bool], None]) -> None:
        self.reads.append(tell)

    def answer(self, call: Call, work: Callable[[], Any], sources: Any) -> None:
        call.answer(work())


class Sent:
    """One call, and the frames that it was answered with."""

    def __init__(
        self,
        request: Any,
        version: int | None = None,
        *,
        correlation_id: int = 42,
        principal: str = "User:alice",
    ) -> None:
        api = APIS[request.api_key]
        self.version = api.last if version is None else version
        self.frames: list[bytes] = []
        self.call = Call(
            self,
            encode_request(request, self.version, correlation_id, "client-1")[4:],
            principal=principal,
            client_host="10.0.0.7",
            listener_name="CONTROLLER",
            connection_id=1,
            received_ms=NOW_MS,
        )

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self.frames.append(data)

    @property
    def answer(self) -> Any:
        (frame,) = self.frames
        return decode_response(self.call.api_key, self.version, frame[4:])


@pytest.fixture
def behind() -> Behind:
    return Behind()


def serving(behind: Behind) -> ControllerServer:
    stands: Any = behind
    # The sender of all calls here: whom ACLs let in is the business of test_access.py.
    trusting = config(has_authorizer=True, super_users=frozenset({"User:alice"}))
    return ControllerServer(
        config=trusting,
        machine=stands,
        node=stands,
        slow=stands,
        kafka=KafkaServing(stands, stands, CLUSTER),
        cluster_id=CLUSTER,
    )


def handled(behind: Behind, call: Call) -> None:
    """For Hypothesis, which wants everything anew for each example."""
    serving(behind).handle(call)


@pytest.fixture
def server(behind: Behind) -> ControllerServer:
    return serving(behind)


def fetch(replica: int = 2) -> raft.FetchRequest:
    asked = messages.FetchRequest(
        replica=KEYS[replica],
        epoch=Epoch(4),
        offset=Offset(10),
        last_fetched_epoch=Epoch(3),
        max_wait_ms=500,
        max_bytes=1_000,
    )
    wanted = request_to_wire(asked, CLUSTER)
    assert isinstance(wanted, raft.FetchRequest)
    return wanted


def fetched(end: int = 12) -> messages.FetchResponse:
    batch = RecordBatch.seal(
        [NoOpRecord()] * (end - 10), base_offset=Offset(10), epoch=Epoch(4), append_time_ms=0
    )
    return messages.FetchResponse(leader=LEADER, high_watermark=Offset(10), batches=(batch,))


# ---- where it goes ---------------------------------------------------------------------------------------


def test_the_quorums_requests_go_to_the_node(server: ControllerServer, behind: Behind) -> None:
    vote = messages.VoteRequest(
        epoch=Epoch(4), candidate=KEYS[2], voter=KEYS[1], last=behind.core.log.end, pre_vote=True
    )
    sent = Sent(request_to_wire(vote, CLUSTER))
    server.handle(sent.call)

    ((received, cluster_id, reply),) = behind.received
    assert (received, cluster_id) == (vote, CLUSTER)
    assert sent.frames == []
    reply(messages.VoteResponse(leader=LEADER, granted=True))
    assert response_from_wire(sent.answer, "CONTROLLER") == messages.VoteResponse(leader=LEADER, granted=True)


def test_the_quorum_of_another_cluster_is_told_so(server: ControllerServer, behind: Behind) -> None:
    sent = Sent(fetch())
    server.handle(sent.call)
    behind.received[0][2](None)

    assert sent.answer.error_code is ErrorCode.inconsistent_cluster_id


def test_a_fetch_of_another_topic_never_reaches_the_node(server: ControllerServer, behind: Behind) -> None:
    other = attrs.evolve(fetch(), topics=(attrs.evolve(fetch().topics[0], topic_id=KEYS[3].directory_id),))
    sent = Sent(other)
    server.handle(sent.call)

    assert behind.received == []
    assert sent.answer.error_code is ErrorCode.unknown_topic_id


def test_changes_go_to_the_active_controller_with_all_that_it_needs(
    server: ControllerServer, behind: Behind
) -> None:
    sent = Sent(CREATE, 5)
    server.handle(sent.call)

    (pending,) = behind.submitted
    assert (pending.request, pending.token, pending.api_version) == (CREATE, sent.call, 5)
    assert (pending.principal, pending.client_id, pending.client_host) == (
        "User:alice",
        "client-1",
        "10.0.0.7",
    )
    assert pending.deadline_ms == NOW_MS + 7_000
    assert sent.frames == []


@pytest.mark.parametrize(
    ("request_", "waits_ms"),
    [
        (HEARTBEAT, 1_000),
        (attrs.evolve(CREATE, timeout_ms=-1), 0),
        (configs.IncrementalAlterConfigsRequest(), 30_000),
    ],
    ids=["heartbeat", "negative", "says nothing"],
)
def test_how_long_a_change_may_wait(
    server: ControllerServer, behind: Behind, request_: Any, waits_ms: int
) -> None:
    server.handle(Sent(request_).call)

    assert behind.submitted[0].deadline_ms == NOW_MS + waits_ms


@pytest.mark.parametrize(
    "request_",
    [
        cluster.MetadataRequest(topics=()),
        cluster.DescribeClusterRequest(endpoint_type=2),
        configs.DescribeConfigsRequest(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_reads_are_answered_at_once_from_the_image(
    server: ControllerServer, behind: Behind, request_: Any
) -> None:
    sent = Sent(request_)
    server.handle(sent.call)

    assert isinstance(sent.answer, APIS[request_.api_key].response)
    assert (behind.received, behind.submitted) == ([], [])


def leads(behind: Behind) -> Bench:
    bench = Bench()
    bench.become_leader()
    behind.core = bench.core
    behind.leader = LeaderAndEpoch(bench.epoch, bench.core.id, Endpoint("CONTROLLER", "host-1", 9001))
    behind.claimed_epoch = bench.epoch
    return bench


@pytest.mark.parametrize("request_", [METADATA, DESCRIBE_CONFIGS])
def test_a_leader_answers_no_read_before_it_knows_that_it_still_leads(
    server: ControllerServer, behind: Behind, request_: Any
) -> None:
    leads(behind)
    sent = Sent(request_)
    server.handle(sent.call)
    assert sent.frames == []
    (tell,) = behind.reads
    tell(True)
    assert len(sent.frames) == 1


def test_who_was_replaced_meanwhile_does_not_answer_as_the_active_controller(
    server: ControllerServer, behind: Behind
) -> None:
    leads(behind)
    topics_, configs_ = Sent(METADATA), Sent(DESCRIBE_CONFIGS)
    server.handle(topics_.call)
    server.handle(configs_.call)
    behind.leader = LeaderAndEpoch(Epoch(behind.leader.epoch + 1))
    for tell in behind.reads:
        tell(False)
    assert topics_.answer.controller_id == -1
    assert [one.error_code for one in configs_.answer.results] == [ErrorCode.not_controller]


def test_who_learns_in_this_very_turn_that_it_is_replaced_names_itself_no_more(
    server: ControllerServer, behind: Behind
) -> None:
    """The core tells those who read before the turn's end, when the machine hears of the new epoch."""
    bench = leads(behind)
    sent = Sent(METADATA)
    server.handle(sent.call)
    bench.receive(bench.vote_request(2, epoch=bench.epoch + 1))
    (tell,) = behind.reads
    tell(False)

    assert sent.answer.controller_id == -1


def test_a_leader_names_itself_only_once_it_is_active(server: ControllerServer, behind: Behind) -> None:
    """Before that its image may lack what former leaders acknowledged."""
    leads(behind)
    epoch = behind.claimed_epoch
    answers = []
    for behind.claimed_epoch in (None, epoch):
        sent = Sent(METADATA)
        server.handle(sent.call)
        behind.reads.pop()(True)
        answers.append(sent.answer.controller_id)

    assert answers == [-1, behind.core.id]


SERVED = [APIS[key] for key in sorted(serving(Behind()).serves) if key != ENVELOPE]
FORWARDABLE = [api for api in APIS.values() if api.forwardable]


@pytest.mark.parametrize("api", SERVED, ids=lambda api: api.name)
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_a_request_says_it_goes_one_way_and_never_ends_the_node(
    data: st.DataObject, api: Any
) -> None:
    behind = Behind()
    version = data.draw(st.integers(api.first, api.last))
    sent = Sent(data.draw(values(api, version, is_request=True)), version)
    handled(behind, sent.call)

    assert len(behind.received) + len(behind.submitted) + len(sent.frames) == 1
    assert bool(behind.submitted) == (api.request in HANDLERS)


# ---- envelopes -------------------------------------------------------------------------------------------


def test_what_is_inside_an_envelope_is_its_clients_own(server: ControllerServer, behind: Behind) -> None:
    inner = Sent(CREATE, 5, correlation_id=7)
    outer = Sent(envelope_of(inner.call))
    server.handle(outer.call)

    (pending,) = behind.submitted
    assert (pending.request, pending.api_version, pending.client_host) == (CREATE, 5, "10.0.0.7")
    created = topics.CreateTopicsResponse(
        topics=(topics.CreatableTopicResult(name="a", error_code=ErrorCode.none),)
    )
    pending.token.answer(created)
    assert outer.answer.error_code is ErrorCode.none
    assert outer.answer.response_data[:4] == (7).to_bytes(4, "big")
    assert decode_response(CREATE.api_key, 5, outer.answer.response_data).topics[0].name == "a"
    assert inner.frames == []


@pytest.mark.parametrize("api", FORWARDABLE, ids=lambda api: api.name)
@settings(max_examples=5)
@given(data=st.data())
def test_a_forwarded_request_that_is_not_served_here_is_refused(data: st.DataObject, api: Any) -> None:
    """Brokers forward whatever may be forwarded, for they may be newer than this controller: one such request must
    not take down one controller after the other."""
    behind = Behind()
    inner = Sent(data.draw(values(api, api.last, is_request=True)))
    outer = Sent(envelope_of(inner.call))
    handled(behind, outer.call)

    if api.request in HANDLERS:
        assert len(behind.submitted) == 1
    elif api.request in (raft.DescribeQuorumRequest, cluster.ListPartitionReassignmentsRequest):
        assert len(outer.frames) == 1
    elif api.request in (raft.AddRaftVoterRequest, raft.RemoveRaftVoterRequest):
        assert len(behind.received) == 1
    else:
        assert outer.answer.error_code is ErrorCode.unsupported_version


def test_an_envelope_in_an_envelope_is_refused(server: ControllerServer, behind: Behind) -> None:
    inner = Sent(envelope_of(Sent(CREATE).call))
    outer = Sent(envelope_of(inner.call))
    server.handle(outer.call)

    assert outer.answer.error_code is ErrorCode.invalid_request
    assert behind.submitted == []


# ---- followers that are level ----------------------------------------------------------------------------


def test_followers_that_are_level_get_the_same_bytes_under_their_own_numbers(
    server: ControllerServer, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    real = Call.answer_written
    monkeypatch.setattr(
        Call, "answer_written", lambda call, answer, frame: (made.append(call), real(call, answer, frame))[1]
    )
    one, other = Sent(fetch(2), correlation_id=1_000), Sent(fetch(3), correlation_id=-2)
    for sent in (one, other):
        server.handle(sent.call)
    for _, _, reply in behind.received:
        reply(fetched())

    assert made == [one.call], "the second answer is put into bytes anew"
    (first,), (second,) = one.frames, other.frames
    assert (first[4:8], second[4:8]) == ((1_000).to_bytes(4, "big"), (-2).to_bytes(4, "big", signed=True))
    assert (first[:4], first[8:]) == (second[:4], second[8:])
    for sent in (one, other):
        assert response_from_wire(sent.answer, "CONTROLLER") == fetched()


@pytest.mark.parametrize("versions", [(18, 13), (13, 18)])
def test_an_answer_in_another_version_is_made_anew(
    server: ControllerServer, behind: Behind, versions: tuple[int, int]
) -> None:
    sent = [Sent(attrs.evolve(fetch(), topics=_without_new_fields(fetch())), version) for version in versions]
    for one in sent:
        server.handle(one.call)
    for _, _, reply in behind.received:
        reply(fetched())

    wanted = [encode_response(1, version, 42, response_to_wire(fetched())) for version in versions]
    assert wanted[0] != wanted[1]
    assert [one.frames for one in sent] == [[frame] for frame in wanted]


def _without_new_fields(request: raft.FetchRequest) -> tuple[raft.FetchTopic, ...]:
    partition = raft.FetchPartition(partition=0, fetch_offset=10, partition_max_bytes=1_000)
    return (attrs.evolve(request.topics[0], partitions=(partition,)),)


@pytest.mark.parametrize(
    "second",
    [
        fetched(13),
        attrs.evolve(fetched(), high_watermark=Offset(11)),
        attrs.evolve(fetched(), leader=LeaderAndEpoch(Epoch(5))),
        messages.FetchResponse(leader=LEADER, error=ErrorCode.fenced_leader_epoch),
    ],
    ids=["more", "high watermark", "leader", "error"],
)
def test_an_answer_that_differs_is_made_anew(
    server: ControllerServer, behind: Behind, second: messages.FetchResponse
) -> None:
    sent = [Sent(fetch(2)), Sent(fetch(3))]
    for one in sent:
        server.handle(one.call)
    behind.received[0][2](fetched())
    behind.received[1][2](second)

    assert response_from_wire(sent[0].answer, "CONTROLLER") == fetched()
    assert response_from_wire(sent[1].answer, "CONTROLLER") == second


# ---- a disk that is almost full --------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", [False, True], ids=["direct", "forwarded"])
def test_without_room_a_leader_takes_no_changes(
    server: ControllerServer, behind: Behind, envelope: bool
) -> None:
    behind.core.disk_low = True
    behind.leader = LeaderAndEpoch(Epoch(4), behind.core.id)
    inner = Sent(CREATE)
    sent = Sent(envelope_of(inner.call)) if envelope else inner
    server.handle(sent.call)

    assert behind.submitted == []
    answer = decode_response(CREATE.api_key, 7, sent.answer.response_data) if envelope else sent.answer
    assert answer.topics[0].error_code is ErrorCode.kafka_storage_error
    assert "the disk of controller 1 is almost full" in answer.topics[0].error_message


@pytest.mark.parametrize("request_", [HEARTBEAT, REGISTER_CONTROLLER], ids=["broker", "controller"])
def test_without_room_the_living_stay_alive(server: ControllerServer, behind: Behind, request_: Any) -> None:
    behind.core.disk_low = True
    server.handle(Sent(request_).call)

    assert [one.request for one in behind.submitted] == [request_]


def test_without_room_reads_and_the_quorum_go_on(server: ControllerServer, behind: Behind) -> None:
    behind.core.disk_low = True
    read = Sent(cluster.MetadataRequest(topics=()))
    server.handle(read.call)
    server.handle(Sent(fetch()).call)

    assert read.answer.error_code is ErrorCode.none
    assert len(behind.received) == 1


def test_without_room_one_that_does_not_lead_still_says_who_does(
    server: ControllerServer, behind: Behind
) -> None:
    """A leader without room hands over to one that has some. Its clients must be sent there, which NOT_CONTROLLER
    does: told that a disk is full, they would ask the same controller for ever."""
    behind.core.disk_low = True
    behind.leader = LEADER
    server.handle(Sent(CREATE).call)

    assert [one.request for one in behind.submitted] == [CREATE]
