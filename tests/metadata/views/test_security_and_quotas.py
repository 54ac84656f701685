"""DescribeClientQuotas and DescribeUserScramCredentials: which entities and users a question means."""

import pytest

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.image.security import SCRAM_SHA_256, SCRAM_SHA_512
from quorate.metadata.records import ClientQuotaRecord, QuotaEntity, UserScramCredentialRecord
from quorate.metadata.views.credentials import answer_user_scram_credentials
from quorate.metadata.views.quotas import answer_client_quotas
from quorate.metadata.wire.credentials import DescribeUserScramCredentialsRequest, UserName
from quorate.metadata.wire.quotas import ComponentData, DescribeClientQuotasRequest

EXACT, DEFAULT, SPECIFIED = 0, 1, 2
Parts = tuple[tuple[str, str | None], ...]
ENTITIES: tuple[Parts, ...] = (
    (("user", "alice"),),
    (("user", None),),
    (("client-id", "app"),),
    (("user", "alice"), ("client-id", "app")),
    (("user", None), ("client-id", None)),
    (("ip", "10.0.0.1"),),
)


@pytest.fixture(scope="module")
def image() -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    for number, parts in enumerate(ENTITIES):
        entity = tuple(QuotaEntity(entity_type=kind, entity_name=name) for kind, name in parts)
        key = "connection_creation_rate" if parts[0][0] == "ip" else "producer_byte_rate"
        delta.replay(ClientQuotaRecord(entity=entity, key=key, value=number + 1.0, remove=False), number)
    for user, mechanism in (("alice", SCRAM_SHA_512), ("alice", SCRAM_SHA_256), ("bob", SCRAM_SHA_256)):
        credential = UserScramCredentialRecord(
            name=user,
            mechanism=mechanism,
            salt=b"s",
            stored_key=b"stored secret",
            server_key=b"server secret",
            iterations=4096 + mechanism,
        )
        delta.replay(credential, 99)
    return delta.apply(Provenance(offset=99, epoch=1, append_time_ms=0))


def asked(image: MetadataImage, *components: tuple[str, int, str | None], strict: bool = False) -> set[Parts]:
    request = DescribeClientQuotasRequest(
        components=tuple(ComponentData(entity_type=t, match_type=m, match=n) for t, m, n in components),
        strict=strict,
    )
    entries = answer_client_quotas(image, request).entries or ()
    for entry in entries:
        assert len(entry.values) == 1
    return {tuple((part.entity_type, part.entity_name) for part in entry.entity) for entry in entries}


def in_order(*parts: Parts) -> set[Parts]:
    return {tuple(sorted(one, key=lambda part: part[0])) for one in parts}


def test_no_component_means_everything(image: MetadataImage) -> None:
    assert asked(image) == in_order(*ENTITIES)


@pytest.mark.parametrize(
    ("component", "loose", "strict"),
    [
        (("user", EXACT, "alice"), (0, 3), (0,)),
        (("user", DEFAULT, None), (1, 4), (1,)),
        (("user", SPECIFIED, None), (0, 1, 3, 4), (0, 1)),
        (("client-id", EXACT, "app"), (2, 3), (2,)),
        (("ip", SPECIFIED, None), (5,), (5,)),
        (("user", EXACT, "nobody"), (), ()),
    ],
)
def test_a_component_is_satisfied_by_entities_that_have_it(
    image: MetadataImage,
    component: tuple[str, int, str | None],
    loose: tuple[int, ...],
    strict: tuple[int, ...],
) -> None:
    assert asked(image, component) == in_order(*(ENTITIES[n] for n in loose))
    assert asked(image, component, strict=True) == in_order(*(ENTITIES[n] for n in strict))


def test_several_components_must_all_be_satisfied(image: MetadataImage) -> None:
    both = (("user", SPECIFIED, None), ("client-id", DEFAULT, None))
    assert asked(image, *both) == in_order(ENTITIES[4])


@pytest.mark.parametrize(
    ("components", "code"),
    [
        ((("", EXACT, "x"),), ErrorCode.invalid_request),
        ((("user", EXACT, "a"), ("user", EXACT, "b")), ErrorCode.invalid_request),
        ((("group", EXACT, "a"),), ErrorCode.unsupported_version),
        ((("ip", SPECIFIED, None), ("user", SPECIFIED, None)), ErrorCode.invalid_request),
        ((("user", 3, None),), ErrorCode.invalid_request),
        ((("user", EXACT, None),), ErrorCode.invalid_request),
        ((("user", DEFAULT, "a"),), ErrorCode.invalid_request),
    ],
)
def test_questions_that_mean_nothing(
    image: MetadataImage, components: tuple[tuple[str, int, str | None], ...], code: ErrorCode
) -> None:
    with pytest.raises(RequestRejected) as refused:
        asked(image, *components)
    assert refused.value.code is code


@pytest.mark.parametrize("users", [None, ()])
def test_nobody_named_means_every_user(image: MetadataImage, users: tuple[UserName, ...] | None) -> None:
    found = answer_user_scram_credentials(image, DescribeUserScramCredentialsRequest(users=users)).results

    assert [(r.user, [(c.mechanism, c.iterations) for c in r.credential_infos]) for r in found] == [
        ("alice", [(SCRAM_SHA_256, 4097), (SCRAM_SHA_512, 4098)]),
        ("bob", [(SCRAM_SHA_256, 4097)]),
    ]
    assert "secret" not in repr(found)


def test_each_user_is_answered_by_itself(image: MetadataImage) -> None:
    users = tuple(UserName(name=name) for name in ("nobody", "bob", "alice", "alice"))

    found = answer_user_scram_credentials(image, DescribeUserScramCredentialsRequest(users=users)).results

    assert {result.user: result.error_code for result in found} == {
        "nobody": ErrorCode.resource_not_found,
        "bob": ErrorCode.none,
        "alice": ErrorCode.duplicate_resource,
    }
