"""DescribeDelegationToken: which tokens are shown to whom."""

import pytest

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.records import DelegationTokenRecord
from quorate.metadata.security.known import token_hmac
from quorate.metadata.security.permissions import Operation, Permits, Resource
from quorate.metadata.views.tokens import answer_describe_tokens
from quorate.metadata.wire.tokens import DescribeDelegationTokenOwner, DescribeDelegationTokenRequest
from tests.controller.world import permit_only

SECRET = "secret"
TOKENS = {"1": ("User:alice", ()), "2": ("User:bob", ("User:alice",)), "3": ("User:carol", ("User:bob",))}
NOTHING = permit_only()


@pytest.fixture(scope="module")
def image() -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all([
        DelegationTokenRecord(
            owner=owner,
            requester="User:admin",
            renewers=renewers,
            issue_timestamp=1,
            max_timestamp=3,
            expiration_timestamp=2,
            token_id=token_id,
        )
        for token_id, (owner, renewers) in TOKENS.items()
    ])  # fmt: skip
    return delta.apply(Provenance(offset=2, epoch=1, append_time_ms=0))


def seen(
    image: MetadataImage,
    *owners: str,
    principal: str = "User:alice",
    permits: Permits = NOTHING,
    by_token: bool = False,
    secret: str | None = SECRET,
    everybody: bool = False,
) -> list[str]:
    named = tuple(DescribeDelegationTokenOwner(principal_type="User", principal_name=one) for one in owners)
    response = answer_describe_tokens(
        image,
        DescribeDelegationTokenRequest(owners=None if everybody else named),
        principal=principal,
        by_token=by_token,
        permits=permits,
        secret=secret,
    )
    return [token.token_id for token in response.tokens]


def test_ones_own_and_those_that_one_may_renew(image: MetadataImage) -> None:
    assert seen(image, everybody=True) == ["1", "2"]
    assert seen(image, everybody=True, principal="User:bob") == ["2", "3"]
    assert seen(image, everybody=True, principal="User:dave") == []


def test_of_named_owners_or_renewers_only(image: MetadataImage) -> None:
    assert seen(image, "bob") == ["2"]
    assert seen(image, "alice") == ["1", "2"]
    assert seen(image, "carol") == []
    assert seen(image) == []


def test_rights_show_those_of_others(image: MetadataImage) -> None:
    on_token = permit_only((Operation.DESCRIBE, Resource.DELEGATION_TOKEN, "3"))
    on_owner = permit_only((Operation.DESCRIBE_TOKENS, Resource.USER, "User:bob"))

    assert seen(image, everybody=True, principal="User:dave", permits=on_token) == ["3"]
    assert seen(image, everybody=True, principal="User:dave", permits=on_owner) == ["2"]


def test_what_is_told_of_one(image: MetadataImage) -> None:
    response = answer_describe_tokens(
        image,
        DescribeDelegationTokenRequest(),
        principal="User:bob",
        by_token=False,
        permits=NOTHING,
        secret=SECRET,
    )
    two = response.tokens[0]

    assert two.hmac == token_hmac("2", SECRET)
    assert (two.principal_type, two.principal_name) == ("User", "bob")
    assert (two.token_requester_principal_type, two.token_requester_principal_name) == ("User", "admin")
    assert (two.issue_timestamp, two.expiry_timestamp, two.max_timestamp) == (1, 2, 3)
    assert [(one.principal_type, one.principal_name) for one in two.renewers] == [("User", "alice")]
    assert repr(two.hmac) not in repr(two)


@pytest.mark.parametrize(
    ("asks", "code"),
    [
        ({"by_token": True}, ErrorCode.delegation_token_request_not_allowed),
        ({"principal": "User:ANONYMOUS"}, ErrorCode.delegation_token_request_not_allowed),
        ({"secret": None}, ErrorCode.delegation_token_auth_disabled),
    ],
)
def test_who_is_told_nothing(image: MetadataImage, asks: dict[str, str], code: ErrorCode) -> None:
    with pytest.raises(RequestRejected) as refusal:
        seen(image, everybody=True, **asks)  # type: ignore[arg-type]

    assert refusal.value.code is code
