"""The writer on real trees: what was read and is written again is what was there."""

import json
import re
from functools import cache
from typing import Any

import attrs
import pytest

from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.writer import image_records
from quorate.metadata.records import PartitionRecord
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions, unwritable
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.kafka_znodes.writes import MOST_BYTES, MOST_OPS
from quorate.metadata.zookeeper.znodes import Tree
from tests.metadata.kafka_znodes.applying import carried_out, new_cluster
from tests.metadata.kafka_znodes.test_real_bytes import OTHER_ORDER
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.trees import REAL, SECRET, real

OPTIONS = WriteOptions(
    controller_epoch=60, secret=SECRET, encoder=EncoderSettings(iterations=10), entropy=entropy()
)


def image_of(tree: Tree) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(read(tree, ReadOptions(secrets=(SECRET,))).records())
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))


@cache
def real_image(name: str) -> MetadataImage:
    """Of one of the real trees."""
    return image_of(real(name))


def without_epochs(image: MetadataImage) -> MetadataImage:
    """Partition epochs are versions of znodes: those of znodes that were made just now are another matter."""
    delta = MetadataDelta(attrs.evolve(MetadataImage.EMPTY, features=image.features))
    for record in image_records(image):
        known = isinstance(record, PartitionRecord)
        delta.replay(attrs.evolve(record, partition_epoch=0) if known else record)
    return delta.apply(image.provenance)


@pytest.mark.parametrize("name", REAL)
def test_nothing_is_written_where_nothing_is_different(name: str) -> None:
    tree = real(name)

    assert list(reconcile(tree, image_of(tree), OPTIONS)) == []
    assert list(writes(image_of(tree), image_of(tree), OPTIONS)) == []


def _cluster_of(name: str) -> Any:
    tree = new_cluster()
    tree["/cluster/id"] = attrs.evolve(tree["/cluster/id"], data=real(name)["/cluster/id"].data)
    return tree


@pytest.mark.parametrize("name", REAL)
def test_what_is_written_into_a_new_cluster_reads_the_same(name: str) -> None:
    image = real_image(name)

    by_delta = carried_out(_cluster_of(name), writes(MetadataImage.EMPTY, image, OPTIONS))
    by_reconcile = carried_out(_cluster_of(name), reconcile(_cluster_of(name), image, OPTIONS))

    for tree in (by_delta, by_reconcile):
        assert without_epochs(image_of(tree)) == without_epochs(image)
        assert list(reconcile(tree, image, OPTIONS)) == []


def _shown(path: str, data: bytes | None) -> object:
    """The data, without what does not come back: who wrote a state, in which order a set was, ciphertext."""
    if data is None:
        return None
    if path.endswith("/state"):
        return re.sub(rb'"controller_epoch":[0-9]+', b"", data)
    if path == "/latest_producer_id_block":
        return json.loads(data)["block_end"]
    if re.match("/kafka-acl(-extended/prefixed)?/", path):
        text = json.loads(data)
        return sorted(map(str, text.pop("acls"))), text
    text = re.sub(r'"initializationVector:[^"]*"', '"encrypted"', data.decode())
    return json.loads(text) if path in OTHER_ORDER else text


_METADATA = re.compile(
    "/brokers/topics/.+|/config/(?!changes).+/.+|/kafka-acl(?:-extended/prefixed)?/[A-Z][a-zA-Z]+/.+"
    "|/delegation_token/tokens/.+|/latest_producer_id_block"
)


@pytest.mark.parametrize("name", REAL)
def test_what_is_written_is_byte_for_byte_what_kafka_wrote(name: str) -> None:
    tree = carried_out(_cluster_of(name), writes(MetadataImage.EMPTY, real_image(name), OPTIONS))

    def metadata(one: Tree) -> dict[str, object]:
        return {p: _shown(p, node.data) for p, node in one.items() if _METADATA.fullmatch(p)}

    ours, theirs = metadata(tree), metadata(real(name))
    assert ours == theirs
    assert len(ours) > 30


def test_a_topic_of_very_many_partitions_takes_several_multis() -> None:
    image = real_image("large")

    sizes = [len(write.ops) for write in writes(MetadataImage.EMPTY, image, OPTIONS)]
    back = [len(write.ops) for write in writes(image, MetadataImage.EMPTY, OPTIONS)]

    assert max(sizes + back) <= MOST_OPS
    assert MOST_BYTES < 2**20


@pytest.mark.parametrize("name", REAL)
def test_what_is_taken_away_leaves_what_a_new_cluster_has(name: str) -> None:
    image = real_image(name)
    tree = carried_out(_cluster_of(name), writes(MetadataImage.EMPTY, image, OPTIONS))

    by_delta = carried_out(tree, writes(image, MetadataImage.EMPTY, OPTIONS))
    by_reconcile = carried_out(tree, reconcile(tree, MetadataImage.EMPTY, OPTIONS))

    for emptied in (by_delta, by_reconcile):
        assert image_of(emptied).same_metadata(MetadataImage.EMPTY)
        assert list(reconcile(emptied, MetadataImage.EMPTY, OPTIONS)) == []
        assert [
            p for p in emptied if p.startswith(("/brokers/topics/", "/config/users/", "/config/topics/"))
        ] == []


@pytest.mark.parametrize("name", REAL)
def test_everything_that_came_from_zookeeper_can_go_back(name: str) -> None:
    assert unwritable(real_image(name), with_secret=True) == ()
