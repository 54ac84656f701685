"""The one table of requests: what we speak, in which versions, who may ask, and what a refusal looks like.

Versions are those that clients of today and of the last years need (KIP-896 dropped the older ones). What a node
advertises is this table cut down to what its service declares. The headers live here too, because only the table
knows which versions are flexible: request header v1 or v2, response header v0 or v1, and v0 always for the answer
to ApiVersions, which a client must be able to read before it knows anything (KIP-511).
"""

import struct
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from functools import cache
from types import ModuleType
from typing import Any, Final

import attrs

from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.wire import (
    acls,
    brokers,
    cluster,
    configs,
    coordinators,
    credentials,
    envelope,
    groups,
    log_dirs,
    migration,
    quotas,
    raft,
    sasl,
    tokens,
    topics,
)
from quorate.metadata.wire.api_names import api_called
from quorate.metadata.wire.convert import message_plan
from quorate.metadata.wire.reading import read_message, skip_tags
from quorate.metadata.wire.refusals import Refusal, refusal_of
from quorate.metadata.wire.writing import write_message

API_VERSIONS: Final = cluster.ApiVersionsRequest.api_key


class Access(Enum):
    """What a principal needs, on the cluster, before its request is looked at. The resources come after it."""

    NOTHING = auto()
    PER_RESOURCE = auto()
    """The handler asks for each topic or config that the request names."""
    CLUSTER_ACTION = auto()
    """Only other nodes."""
    DESCRIBE = auto()
    ALTER = auto()
    DESCRIBE_CONFIGS = auto()
    ALTER_CONFIGS = auto()


@attrs.frozen(kw_only=True)
class Api:
    """One row: an API, and the versions of it that we speak, both ends included."""

    key: int
    name: str
    first: int
    last: int
    request: type
    response: type
    access: Access
    access_at_controllers: Access
    """The same but for DescribeCluster: Kafka's controllers tell of themselves only who may ALTER the cluster."""
    forwardable: bool
    """Whether a broker may wrap it in an Envelope for the controller (KIP-590)."""
    reads: bool
    """It changes nothing, so sending it a second time is harmless."""
    refuse: Refusal

    def versions(self) -> cluster.ApiVersion:
        return cluster.ApiVersion(api_key=self.key, min_version=self.first, max_version=self.last)


def _row(
    family: ModuleType,
    name: str,
    first: int,
    last: int,
    access: Access,
    *,
    at_controllers: Access | None = None,
    forwardable: bool = False,
    reads: bool = False,
) -> Api:
    request: type = getattr(family, name + "Request")
    response: type = getattr(family, name + "Response")
    return Api(
        key=request.api_key,  # type: ignore[attr-defined]
        name=name,
        first=first,
        last=last,
        request=request,
        response=response,
        access=access,
        access_at_controllers=at_controllers or access,
        forwardable=forwardable,
        reads=reads,
        refuse=refusal_of(request, response),
    )


_ROWS: Final = (
    _row(raft, "Fetch", 13, 18, Access.CLUSTER_ACTION, reads=True),
    _row(cluster, "Metadata", 0, 13, Access.PER_RESOURCE, reads=True),
    _row(coordinators, "FindCoordinator", 0, 6, Access.PER_RESOURCE, reads=True),
    _row(groups, "ListGroups", 0, 5, Access.NOTHING, reads=True),
    _row(sasl, "SaslHandshake", 0, 1, Access.NOTHING),
    _row(cluster, "ApiVersions", 0, 4, Access.NOTHING, reads=True),
    _row(topics, "CreateTopics", 2, 7, Access.PER_RESOURCE, forwardable=True),
    _row(topics, "DeleteTopics", 1, 6, Access.PER_RESOURCE, forwardable=True),
    _row(coordinators, "InitProducerId", 0, 5, Access.PER_RESOURCE, forwardable=True),
    _row(acls, "DescribeAcls", 1, 3, Access.DESCRIBE, reads=True),
    _row(acls, "CreateAcls", 1, 3, Access.ALTER, forwardable=True),
    _row(acls, "DeleteAcls", 1, 3, Access.ALTER, forwardable=True),
    _row(configs, "DescribeConfigs", 1, 4, Access.PER_RESOURCE, reads=True),
    _row(configs, "AlterConfigs", 0, 2, Access.PER_RESOURCE, forwardable=True),
    _row(log_dirs, "DescribeLogDirs", 1, 5, Access.DESCRIBE, reads=True),
    _row(sasl, "SaslAuthenticate", 0, 2, Access.NOTHING),
    _row(topics, "CreatePartitions", 0, 3, Access.PER_RESOURCE, forwardable=True),
    _row(tokens, "CreateDelegationToken", 1, 3, Access.PER_RESOURCE, forwardable=True),
    _row(tokens, "RenewDelegationToken", 1, 2, Access.NOTHING, forwardable=True),
    _row(tokens, "ExpireDelegationToken", 1, 2, Access.NOTHING, forwardable=True),
    _row(tokens, "DescribeDelegationToken", 1, 3, Access.PER_RESOURCE, reads=True),
    _row(topics, "ElectLeaders", 0, 2, Access.ALTER, forwardable=True),
    _row(configs, "IncrementalAlterConfigs", 0, 1, Access.PER_RESOURCE, forwardable=True),
    _row(topics, "AlterPartitionReassignments", 0, 1, Access.ALTER, forwardable=True),
    _row(cluster, "ListPartitionReassignments", 0, 0, Access.DESCRIBE, forwardable=True, reads=True),
    _row(quotas, "DescribeClientQuotas", 0, 1, Access.DESCRIBE_CONFIGS, reads=True),
    _row(quotas, "AlterClientQuotas", 0, 1, Access.ALTER_CONFIGS, forwardable=True),
    _row(credentials, "DescribeUserScramCredentials", 0, 0, Access.DESCRIBE, reads=True),
    _row(credentials, "AlterUserScramCredentials", 0, 0, Access.ALTER, forwardable=True),
    _row(raft, "Vote", 0, 2, Access.CLUSTER_ACTION),
    _row(raft, "BeginQuorumEpoch", 0, 1, Access.CLUSTER_ACTION),
    _row(raft, "EndQuorumEpoch", 0, 1, Access.CLUSTER_ACTION),
    _row(raft, "DescribeQuorum", 0, 2, Access.DESCRIBE, forwardable=True, reads=True),
    _row(brokers, "AlterPartition", 2, 3, Access.CLUSTER_ACTION),
    _row(cluster, "UpdateFeatures", 0, 2, Access.ALTER, forwardable=True),
    _row(envelope, "Envelope", 0, 0, Access.CLUSTER_ACTION),
    _row(raft, "FetchSnapshot", 0, 1, Access.CLUSTER_ACTION, reads=True),
    _row(
        cluster,
        "DescribeCluster",
        0,
        2,
        Access.PER_RESOURCE,
        at_controllers=Access.ALTER,
        reads=True,
    ),
    _row(brokers, "BrokerRegistration", 0, 4, Access.CLUSTER_ACTION),
    _row(brokers, "BrokerHeartbeat", 0, 2, Access.CLUSTER_ACTION),
    _row(brokers, "UnregisterBroker", 0, 0, Access.ALTER, forwardable=True),
    _row(coordinators, "ListTransactions", 0, 2, Access.NOTHING, reads=True),
    _row(brokers, "AllocateProducerIds", 0, 0, Access.CLUSTER_ACTION),
    _row(brokers, "ControllerRegistration", 0, 0, Access.CLUSTER_ACTION),
    _row(brokers, "AssignReplicasToDirs", 0, 0, Access.CLUSTER_ACTION),
    _row(configs, "ListConfigResources", 0, 1, Access.DESCRIBE_CONFIGS, reads=True),
    _row(cluster, "DescribeTopicPartitions", 0, 0, Access.PER_RESOURCE, reads=True),
    _row(raft, "AddRaftVoter", 0, 1, Access.ALTER, forwardable=True),
    _row(raft, "RemoveRaftVoter", 0, 0, Access.ALTER, forwardable=True),
    _row(raft, "UpdateRaftVoter", 0, 0, Access.CLUSTER_ACTION),
    _row(migration, "SteerMigration", 0, 0, Access.ALTER, forwardable=True),
)

APIS: Final[Mapping[int, Api]] = {row.key: row for row in _ROWS}
"""Every API that we speak, by its key."""


@attrs.frozen(kw_only=True)
class RequestHeader:
    """The head of every request. `client_id` is what the client calls itself; nothing depends on it."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


@attrs.frozen(kw_only=True)
class RequestFrame:
    """A request as it came: head and value."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body: Any
    meant: Any = attrs.field(default=None, eq=False)
    """What the body asks of the quorum, where whoever read it knows that already."""


class UnsupportedRequest(RemoteProtocolError):
    """An API or a version that we do not speak. Its head is known, its body is not."""

    def __init__(self, header: RequestHeader) -> None:
        api = APIS.get(header.api_key)
        what = api_called(header.api_key) if api is None else f"{api.name} version {header.api_version}"
        super().__init__(f"{what} is not spoken here; ApiVersions tells what is")
        self.header = header


_HEAD: Final = struct.Struct(">hhih")
_SIZE_AND_ID: Final = struct.Struct(">ii")


def decode_header(frame: bytes) -> tuple[RequestHeader, int]:
    """The head of a request, and where its tagged fields or its body begin.

    Raises:
        RemoteProtocolError: too short, or the client id is no text.
    """
    key, version, correlation_id, client_id, end = _read_head(frame)
    return RequestHeader(
        api_key=key, api_version=version, correlation_id=correlation_id, client_id=client_id
    ), end


def _read_head(frame: bytes) -> tuple[int, int, int, str | None, int]:
    try:
        key, version, correlation_id, size = _HEAD.unpack_from(frame)
    except struct.error:
        what = "an empty frame" if not frame else f"a frame of {len(frame)} bytes"
        raise RemoteProtocolError(f"{what} is no request: its head alone has {_HEAD.size} bytes") from None
    end = _HEAD.size + max(size, 0)
    try:
        client_id = None if size < 0 else frame[_HEAD.size : end].decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"the client id is no UTF-8: byte {error.start} of {size}") from None
    if end > len(frame):
        raise RemoteProtocolError(f"a client id of {size} bytes in a frame of {len(frame)}")
    return key, version, correlation_id, client_id, end


def decode_request(frame: bytes | memoryview) -> RequestFrame:
    """A whole request, without its length.

    Raises:
        UnsupportedRequest: an API or a version that is not in the table.
        RemoteProtocolError: bytes that are no such request.
    """
    data = bytes(frame)
    key, version, correlation_id, client_id, position = _read_head(data)
    api = APIS.get(key)
    if api is None or not api.first <= version <= api.last:
        raise UnsupportedRequest(decode_header(data)[0])
    if _is_flexible(api.request, version, is_request=True):
        position = skip_tags(data, position)
    return RequestFrame(
        api_key=key,
        api_version=version,
        correlation_id=correlation_id,
        client_id=client_id,
        body=read_message(api.request, version, data, position, is_request=True),
    )


def encode_request(value: Any, version: int, correlation_id: int, client_id: str | None) -> bytes:
    """A whole request with its length in front.

    Raises:
        UnsayableValue: this version cannot say it; a newer one might.
    """
    out = bytearray(_SIZE.size)
    name = None if client_id is None else client_id.encode()
    out += _HEAD.pack(value.api_key, version, correlation_id, -1 if name is None else len(name))
    out += name or b""
    value_class: type = type(value)
    if _is_flexible(value_class, version, is_request=True):
        out.append(0)
    write_message(out, version, value, is_request=True)
    _SIZE.pack_into(out, 0, len(out) - _SIZE.size)
    return bytes(out)


def encode_response(api_key: int, version: int, correlation_id: int, value: Any) -> bytes:
    """A whole response with its length in front.

    Raises:
        UnsayableValue: a value of the wrong shape. A field that the version lacks is left out.
    """
    out = bytearray(_SIZE_AND_ID.size)
    if api_key == API_VERSIONS:
        value = _readable_by(version, value)
    elif _is_flexible(APIS[api_key].response, version, is_request=False):
        out.append(0)
    write_message(out, version, value, is_request=False)
    _SIZE_AND_ID.pack_into(out, 0, len(out) - _SIZE.size, correlation_id)
    return bytes(out)


_SIZE: Final = struct.Struct(">i")


def correlation_id_of(frame: bytes) -> int:
    """Which request a response answers.

    Raises:
        RemoteProtocolError: too short for a response.
    """
    if len(frame) < _SIZE.size:
        raise RemoteProtocolError(f"a frame of {len(frame)} bytes is no response")
    (found,) = _SIZE.unpack_from(frame)
    return int(found)


THROTTLED: Final = frozenset(
    one.api_key
    for one in (topics.CreateTopicsRequest, topics.DeleteTopicsRequest, topics.CreatePartitionsRequest)
)
"""The requests whose answers may ask the client to be quiet for a while (KIP-599)."""


def throttle_ms_of(api_key: int, version: int, frame: bytes) -> int:
    """For how long an answer of `THROTTLED` asks for that, which is its first field; the frame with its length."""
    position = _SIZE_AND_ID.size
    if _is_flexible(APIS[api_key].response, version, is_request=False):
        position = skip_tags(frame, position)
    (found,) = _SIZE.unpack_from(frame, position)
    return int(found)


def decode_response(api_key: int, version: int, frame: bytes) -> Any:
    """The value of a whole response, without its length. Its correlation id is `correlation_id_of(frame)`.

    Raises:
        RemoteProtocolError: bytes that are no such response.
    """
    correlation_id_of(frame)
    response = APIS[api_key].response
    position = _SIZE.size
    if api_key != API_VERSIONS and _is_flexible(response, version, is_request=False):
        position = skip_tags(frame, position)
    return read_message(response, version, frame, position, is_request=False)


@cache
def _is_flexible(value_class: type, version: int, *, is_request: bool) -> bool:
    return message_plan(value_class, version, is_request=is_request).flexible


def _readable_by(version: int, answer: cluster.ApiVersionsResponse) -> cluster.ApiVersionsResponse:
    """Parsers of the time of v3 break on a supported feature that begins at 0 (KIP-584, mended in v4)."""
    if version > 3 or all(feature.min_version > 0 for feature in answer.supported_features):
        return answer
    shown = tuple(feature for feature in answer.supported_features if feature.min_version > 0)
    return attrs.evolve(answer, supported_features=shown)


def offered(keys: Iterable[int]) -> tuple[cluster.ApiVersion, ...]:
    """What ApiVersions advertises for a service that serves these APIs, in the order of the keys."""
    return tuple(APIS[key].versions() for key in sorted(keys))


def unsupported_api_versions() -> cluster.ApiVersionsResponse:
    """The answer to ApiVersions in a version that is not spoken; to be written as v0, which everybody reads."""
    return cluster.ApiVersionsResponse(
        error_code=ErrorCode.unsupported_version, api_keys=(APIS[API_VERSIONS].versions(),)
    )


def refusal(request: Any, code: ErrorCode, message: str | None = None) -> Any:
    """The answer to a request that is refused as a whole, in the API's own shape.

    Where the API has no error of its own, every item that the request names carries it. The message goes where
    the version has a field for it.
    """
    return APIS[request.api_key].refuse(request, code, message)


def holds_error(value: Any, code: ErrorCode) -> bool:
    """Whether a response carries this code, at the top or in any item."""
    value_class: type = type(value)
    return _error_finder(value_class)(value, code)


_OF_THE_LEADER: Final = frozenset(
    one.api_key for one in (raft.DescribeQuorumRequest, raft.AddRaftVoterRequest, raft.RemoveRaftVoterRequest)
)


def says_moved(api_key: int, response: Any) -> bool:
    """Whether an answer says that the active controller is somewhere else; the quorum has its own word for it."""
    return holds_error(response, ErrorCode.not_controller) or (
        api_key in _OF_THE_LEADER and holds_error(response, ErrorCode.not_leader_or_follower)
    )


@cache
def _error_finder(value_class: type) -> Callable[[Any, ErrorCode], bool]:
    codes: list[str] = []
    parts: list[tuple[str, Callable[[Any, ErrorCode], bool]]] = []
    for name, annotation in typing.get_type_hints(value_class).items():
        if annotation is ErrorCode:
            codes.append(name)
        elif typing.get_origin(annotation) is not typing.ClassVar:
            nested = [part for part in (annotation, *_parts(annotation)) if attrs.has(part)]
            parts.extend((name, _error_finder(part)) for part in nested)

    def find(value: Any, code: ErrorCode) -> bool:
        if any(getattr(value, name) is code for name in codes):
            return True
        for name, find_in in parts:
            items = getattr(value, name)
            if items is not None and any(
                find_in(item, code) for item in (items if type(items) is tuple else (items,))
            ):
                return True
        return False

    return find


def _parts(annotation: Any) -> list[Any]:
    """The types that an annotation is made of, all the way down."""
    return [deep for part in typing.get_args(annotation) for deep in (part, *_parts(part))]
