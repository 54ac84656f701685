"""A broker that comes late gets the state, not the history: a snapshot, and the log behind it."""

import pathlib
import random
from typing import Final

import pytest
import trio

from quorate.admin.cluster import NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, NodeFiles, Wanted, lay_out
from quorate.admin.offline_log import LogFiles
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.readiness import look
from quorate.metadata.addresses import Address, parse_servers
from quorate.metadata.client import ClientSecurity, open_client
from quorate.metadata.ids import Offset
from quorate.metadata.log.layout import segment_base
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from tests.e2e.conftest import WITHIN_S, full
from tests.secured import Secured

pytestmark = pytest.mark.e2e

TOPICS: Final = 1_000 if full() else 30
PARTITIONS_EACH: Final = 100
_TOPICS_PER_REQUEST: Final = 50
_BETWEEN_SNAPSHOTS: Final = {"metadata.log.max.record.bytes.between.snapshots": "50000"}
_PATIENCE_S: Final = WITHIN_S * (10 if full() else 1)


async def test_a_late_broker_loads_a_snapshot_and_answers_for_every_partition(
    tmp_path: pathlib.Path, security: Secured
) -> None:
    wanted = security.wanted(controllers=3, brokers=1, controller_settings=_BETWEEN_SNAPSHOTS)
    with HeldPorts() as ports:
        files = lay_out(tmp_path / "cluster", ports, random.Random(), wanted)
        async with running(files) as cluster:
            await cluster.ready(within_s=WITHIN_S)
            names = await _create_all(files)
            known = await _snapshot_of_every_controller(files)

            more = lay_out(tmp_path / "cluster", ports, random.Random(), Wanted(brokers=2))
            late = NodeProcess(more.brokers[-1])
            await late.start()
            try:
                await _serves(late.files, files.login())
                found = await _partitions_told_by(late.files, files.login())
            finally:
                await late.stop()

    assert found == dict.fromkeys(names, PARTITIONS_EACH)
    loaded = _snapshot_that_was_fetched(late.files)
    assert loaded >= known
    bases = [segment_base(path.name) for path in LogFiles.at(late.files.data).segments]
    assert min(base for base in bases if base is not None) >= loaded  # of the history before it has nothing
    said = late.files.log.read_text()
    assert "fetches snapshot" in said
    assert "Traceback" not in said


async def _create_all(files: ClusterFiles) -> list[str]:
    names = [f"topic-{number:04}" for number in range(TOPICS)]
    async with open_client(parse_servers(files.bootstrap.split(",")), security=files.login()) as client:
        for first in range(0, TOPICS, _TOPICS_PER_REQUEST):
            topics = tuple(
                CreatableTopic(name=name, num_partitions=PARTITIONS_EACH, replication_factor=1)
                for name in names[first : first + _TOPICS_PER_REQUEST]
            )
            answer = await client.call_controller(CreateTopicsRequest(topics=topics), int(WITHIN_S * 1000))
            assert {topic.error_message for topic in answer.topics} == {None}
    return names


async def _snapshot_of_every_controller(files: ClusterFiles) -> Offset:
    """Waits until each has one, and says how far the least of them goes: any may be the one that is asked."""
    with trio.fail_after(_PATIENCE_S):
        while True:
            newest = [LogFiles.at(node.data).snapshots[-1].offset for node in files.controllers]
            if min(newest) > 0:
                return min(newest)
            await trio.sleep(0.02)


async def _serves(node: NodeFiles, login: ClientSecurity) -> None:
    with trio.fail_after(_PATIENCE_S):
        while (await look([], [node], login)).missing is not None:  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)


async def _partitions_told_by(node: NodeFiles, login: ClientSecurity) -> dict[str, int]:
    async with open_client([Address(LOOPBACK, node.port)], security=login) as client:
        answer = await client.call_any(MetadataRequest(topics=None), int(_PATIENCE_S * 1000))
    return {topic.name: len(topic.partitions) for topic in answer.topics}


def _snapshot_that_was_fetched(node: NodeFiles) -> Offset:
    """This broker takes none of its own: so little has been written since."""
    (snapshot,) = [one for one in LogFiles.at(node.data).snapshots if one.offset > 0]
    return snapshot.offset
