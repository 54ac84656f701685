"""The gate, API by API from the request table: who gets past it, at a broker and at a controller."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from structlog.testing import capture_logs

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.security.authorizer import Authorizer
from quorate.metadata.security.gate import Gate
from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permission,
    Resource,
    permit_everything,
)
from quorate.metadata.wire.cluster import ApiVersionsRequest
from quorate.metadata.wire.envelope import EnvelopeRequest
from quorate.metadata.wire.table import APIS, Access, decode_response, encode_request, holds_error
from tests.metadata.security.rights import ALICE, Right, acl_records, on_cluster
from tests.metadata.wire.messages import values

NODE = "User:node"
AUTHORIZER = Authorizer(super_users=frozenset({NODE}))
ROLES = [pytest.param(True, id="controller"), pytest.param(False, id="broker")]
APIS_OF_TABLE = [pytest.param(api, id=api.name) for api in APIS.values()]
ON_CLUSTER = [
    Operation.CREATE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.CLUSTER_ACTION,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
]
ALSO_BY = {Operation.DESCRIBE: {Operation.ALTER}, Operation.DESCRIBE_CONFIGS: {Operation.ALTER_CONFIGS}}


class Asked:
    """One call of somebody, and the answers that it got."""

    def __init__(self, request: Any, version: int, principal: str) -> None:
        self.version = version
        self.frames: list[bytes] = []
        self.call = Call(
            self,
            encode_request(request, version, 1, None)[4:],
            principal=principal,
            client_host="10.0.0.7",
            listener_name="X",
            connection_id=1,
            received_ms=0,
        )

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self.frames.append(data)

    @property
    def answer(self) -> Any:
        (frame,) = self.frames
        return decode_response(self.call.api_key, self.version, frame[4:])


def asked(api: Any, principal: str = ALICE) -> Asked:
    """Some request of the newest version."""
    found: list[Any] = []

    @settings(max_examples=1, database=None, derandomize=True)
    @given(values(api, api.last, is_request=True))
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return Asked(found[0], api.last, principal)


def image(rights: Iterable[Right], permission: Permission = Permission.ALLOW) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(list(acl_records(rights, permission=permission)))
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))


def gate(
    *rights: Right, at_controller: bool, authorizer: Authorizer | None = AUTHORIZER, loaded: bool = True
) -> Gate:
    published = image(rights) if loaded else None
    return Gate(authorizer, lambda: published, at_controller=at_controller)


def demanded(api: Any, at_controller: bool) -> Operation | None:
    access = api.access_at_controllers if at_controller else api.access
    return None if access in (Access.NOTHING, Access.PER_RESOURCE) else Operation[access.name]


@pytest.mark.parametrize("at_controller", ROLES)
@pytest.mark.parametrize("api", APIS_OF_TABLE)
def test_only_the_right_that_an_api_demands_lets_it_in(api: Any, at_controller: bool) -> None:
    needed = demanded(api, at_controller)
    lets_in = {needed} | ALSO_BY.get(needed, set()) if needed else set(ON_CLUSTER)

    for operation in ON_CLUSTER:
        one = asked(api)
        admitted = gate(on_cluster(operation), at_controller=at_controller).admits(one.call)
        assert admitted == (operation in lets_in), operation.name
        assert len(one.frames) == (0 if admitted else 1)


@pytest.mark.parametrize("at_controller", ROLES)
@pytest.mark.parametrize("api", APIS_OF_TABLE)
def test_who_has_no_right_is_told_so_and_one_line_is_logged(api: Any, at_controller: bool) -> None:
    needed = demanded(api, at_controller)
    one = asked(api, "User:ANONYMOUS")
    with capture_logs() as lines:
        admitted = gate(at_controller=at_controller).admits(one.call)

    assert admitted == (needed is None)
    if needed is None:
        assert (one.frames, lines) == ([], [])
        return
    (line,) = lines
    assert (line["event"], line["principal"], line["host"]) == ("denied", "User:ANONYMOUS", "10.0.0.7")
    assert (line["operation"], line["resource"], line["api"]) == (
        needed.name,
        "CLUSTER:kafka-cluster",
        api.name,
    )
    names_nothing = not holds_error(one.answer, ErrorCode.cluster_authorization_failed)
    assert not names_nothing or _has_no_code_of_its_own(one.answer), one.answer


def _has_no_code_of_its_own(answer: Any) -> bool:
    """Answers whose codes lie in their items, of which the request had none."""
    return not hasattr(answer, "error_code")


@pytest.mark.parametrize("at_controller", ROLES)
@pytest.mark.parametrize("api", APIS_OF_TABLE)
@pytest.mark.parametrize("loaded", [True, False])
def test_super_users_get_in_before_anything_is_loaded(api: Any, at_controller: bool, loaded: bool) -> None:
    one = asked(api, NODE)

    assert gate(at_controller=at_controller, loaded=loaded).admits(one.call)
    assert one.frames == []


@pytest.mark.parametrize("at_controller", ROLES)
@pytest.mark.parametrize("api", APIS_OF_TABLE)
def test_nobody_else_does_whatever_the_settings(api: Any, at_controller: bool) -> None:
    lenient = Authorizer(super_users=frozenset({NODE}), allow_if_no_acl=True)
    here = gate(at_controller=at_controller, authorizer=lenient, loaded=False)
    one = asked(api)

    assert here.admits(one.call) == (demanded(api, at_controller) is None)
    assert not here.permits(one.call)(Operation.DESCRIBE, Resource.TOPIC, "t")


@pytest.mark.parametrize("api", APIS_OF_TABLE)
def test_without_an_authorizer_everything_is_open_and_acls_mean_nothing(api: Any) -> None:
    one = asked(api)
    here = gate(at_controller=True, authorizer=None)

    if "Acls" in api.name:
        assert not here.admits(one.call)
        assert holds_error(one.answer, ErrorCode.security_disabled) or _has_no_code_of_its_own(one.answer)
    else:
        assert here.admits(one.call)
        assert here.permits(one.call) is permit_everything


def test_a_denial_outweighs_and_is_named_in_the_log() -> None:
    denying = image([on_cluster(Operation.CLUSTER_ACTION)], Permission.DENY)
    lenient = Authorizer(allow_if_no_acl=True)
    one = asked(APIS[EnvelopeRequest.api_key])
    with capture_logs() as lines:
        assert not Gate(lenient, lambda: denying, at_controller=True).admits(one.call)

    assert one.answer.error_code is ErrorCode.cluster_authorization_failed
    assert "permission_type=2" in lines[0]["because"]


def test_what_is_only_left_out_is_not_logged() -> None:
    one = asked(APIS[ApiVersionsRequest.api_key])
    permits = gate(at_controller=True).permits(one.call)
    with capture_logs() as lines:
        assert not permits(Operation.DESCRIBE, Resource.TOPIC, "t", log_if_denied=False)
        assert lines == []
        assert not permits(Operation.DESCRIBE, Resource.TOPIC, "t")
    assert len(lines) == 1


def test_rights_follow_the_image_while_a_request_waits() -> None:
    now = [image([])]
    permits = Gate(AUTHORIZER, lambda: now[0], at_controller=True).permits(
        asked(APIS[ApiVersionsRequest.api_key]).call
    )
    assert not permits(Operation.ALTER, Resource.CLUSTER, CLUSTER_NAME)

    now[0] = image([on_cluster(Operation.ALTER)])
    assert permits(Operation.ALTER, Resource.CLUSTER, CLUSTER_NAME)
