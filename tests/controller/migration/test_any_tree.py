"""No tree stops anybody who looks at it: whatever stands in a znode, all of it is read, planned, compared."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.controller.migration.checks import Facts
from quorate.controller.migration.plan import PlanOptions, Sample, planned
from quorate.controller.migration.verify import VerifyOptions, verify
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import NOWHERE, MetadataImage
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.troubles import Severity
from quorate.metadata.zookeeper.znodes import Znode
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.test_writer_real import OPTIONS
from tests.metadata.kafka_znodes.trees import SECRET, made, real

SMALL = real("small")
PATHS = sorted(path for path, node in SMALL.items() if node.data)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=5)


@st.composite
def changed(draw: Any, data: bytes) -> bytes | None:
    """Another content: nothing, noise, or the same JSON with one member replaced, taken away or added."""
    how = draw(st.integers(0, 4))
    if how == 0:
        return draw(st.none() | st.binary(max_size=8))
    try:
        value = json.loads(data)
    except ValueError:
        value = {}
    if not isinstance(value, dict):
        value = {}
    at = value
    keys = list(value)
    while keys and isinstance(at.get(key := draw(st.sampled_from(keys))), dict) and at[key]:
        at, keys = at[key], list(at[key])
    if keys and how < 4:
        key = draw(st.sampled_from(keys))
        if how == 1:
            del at[key]
        else:
            at[key] = draw(VALUES)
    else:
        at[draw(st.text(max_size=4))] = draw(VALUES)
    return json.dumps(value).encode()


FOLDERS = (
    "/brokers/topics",
    "/brokers/ids",
    "/config/users",
    "/config/topics",
    "/config/brokers",
    "/kafka-acl/Topic",
    "/delegation_token/tokens",
    "/admin/delete_topics",
)


@st.composite
def differences(draw: Any) -> dict[str, bytes | str | None]:
    """Path -> another content, or "gone" with all below it."""
    found: dict[str, bytes | str | None] = {
        path: draw(changed(SMALL[path].data or b""))
        for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4, unique=True))
    }
    found[f"{draw(st.sampled_from(FOLDERS))}/{draw(NAMES)}"] = draw(st.none() | st.binary(max_size=4))
    if draw(st.booleans()):
        found[draw(st.sampled_from(sorted(SMALL)[1:]))] = "gone"
    return found


def _tree(different: dict[str, bytes | str | None]) -> dict[str, Znode]:
    """The small real tree, with these differences."""
    kept: dict[str, tuple[bytes | str | None, int]] = {
        path: (node.data, node.stat.version) for path, node in SMALL.items()
    }
    kept |= {path: (data, 0) for path, data in different.items() if data != "gone"}
    gone = tuple(path for path, data in different.items() if data == "gone")
    return made(
        {
            path: data
            for path, data in kept.items()
            if not any(path == one or path.startswith(f"{one}/") for one in gone)
        }
    )


@settings(max_examples=60)
@given(differences())
def test_whatever_stands_there_is_told_and_stops_nobody(different: dict[str, bytes | str | None]) -> None:
    tree = _tree(different)
    reading = read(tree, ReadOptions(secrets=(SECRET,)))
    plan = planned(tree, reading, PlanOptions(reading=ReadOptions(secrets=(SECRET,)), entropy=entropy()))
    json.dumps(plan.document(plan.estimate(Sample(read_seconds=None, copy_seconds=0.1))))

    delta = MetadataDelta(MetadataImage.EMPTY)
    try:
        delta.replay_all(reading.records())
    except ReplayError:
        assert not plan.can_run
        return
    image = delta.apply(NOWHERE)
    list(reconcile(tree, image, OPTIONS))
    options = VerifyOptions(secrets=(SECRET,), facts=Facts(brokers_registered=False))
    verification = verify(tree, image, options)
    json.dumps(verification.evidence())
    "".join(map(str, verification.differences)).encode()
    if not verification.is_equal:
        # What was copied is not what is there: then somebody was told so before.
        assert reading.of(Severity.BLOCKER) or reading.of(Severity.WARNING)
