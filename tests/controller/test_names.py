"""Names with every byte: whatever a client calls a thing, it is answered, and what is written can be read again."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.tree import browse, tree
from quorate.metadata.image.writer import image_records
from quorate.metadata.wire.acls import AclCreation, CreateAclsRequest
from quorate.metadata.wire.cluster import FeatureUpdateKey, UpdateFeaturesRequest
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.credentials import (
    AlterUserScramCredentialsRequest,
    ScramCredentialUpsertion,
)
from quorate.metadata.wire.quotas import AlterClientQuotasRequest, AlteredEntry, EntityData, OpData
from quorate.metadata.wire.table import decode_request, encode_request
from tests.controller.desk import create, running_desk

NAMES: Final = [
    *(f"a{chr(byte)}b" for byte in range(256)),
    "", " ", ".", "..", "\n", "é" * 100, "\U0001f600", "\u202e", "a" * 249, "a" * 250, "a" * 32_000, "%s{}$()`",
]  # fmt: skip


def quota(name: str) -> Any:
    entity = (EntityData(entity_type="user", entity_name=name),)
    return AlterClientQuotasRequest(
        entries=(AlteredEntry(entity=entity, ops=(OpData(key="producer_byte_rate", value=1.0),)),)
    )


def acl(name: str) -> Any:
    creation = AclCreation(
        resource_type=2,
        resource_name=name,
        resource_pattern_type=3,
        principal=f"User:{name}",
        host="*",
        operation=3,
        permission_type=3,
    )
    return CreateAclsRequest(creations=(creation,))


def user(name: str) -> Any:
    upsertion = ScramCredentialUpsertion(
        name=name, mechanism=1, iterations=4096, salt=b"salt", salted_password=b"s" * 32
    )
    return AlterUserScramCredentialsRequest(deletions=(), upsertions=(upsertion,))


def config_of_group(name: str) -> Any:
    change = IncrementalAlterableConfig(name="consumer.session.timeout.ms", config_operation=0, value="50000")
    resource = IncrementalAlterConfigsResource(resource_type=32, resource_name=name, configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,))


def config_key(name: str) -> Any:
    change = IncrementalAlterableConfig(name=name, config_operation=0, value=name)
    resource = IncrementalAlterConfigsResource(resource_type=4, resource_name="", configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,))


def feature(name: str) -> Any:
    return UpdateFeaturesRequest(feature_updates=(FeatureUpdateKey(feature=name, max_version_level=1),))


@pytest.mark.parametrize(
    "asking", [create, quota, acl, user, config_of_group, config_key, feature], ids=lambda f: f.__name__
)
def test_every_name_is_answered_and_what_is_written_can_be_read(asking: Callable[[str], Any]) -> None:
    desk = running_desk()
    version = {create: 7, user: 0}.get(asking, 1)
    for name in NAMES:
        # As it would come over the wire.
        request = decode_request(encode_request(asking(name), version, 1, None)[4:]).body
        desk.ask(request, api_version=version)
    assert desk.controller.counters.faults == 0
    image = desk.controller.committed_image
    delta = MetadataDelta(MetadataImage.EMPTY)
    for record in image_records(image):
        delta.replay(record)
    assert delta.apply(image.provenance) == image
    assert list(tree(browse(image, lambda kind, key: False)))


def test_of_topics_only_kafkas_names_are_made() -> None:
    desk = running_desk()
    made = {name for name in NAMES if desk.ask(create(name)).topics[0].error_code is ErrorCode.none}

    legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
    # a.b and a_b would be one metric's name: the second of them is refused.
    assert made == ({f"a{one}b" for one in legal} - {"a_b"}) | {"a" * 249}
