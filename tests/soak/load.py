"""Clients that change metadata all the time, while the state stays the same size: configs, topics that come and go."""

import itertools

import attrs
import trio

from quorate.admin.cluster_files import ClusterFiles
from quorate.metadata.addresses import parse_servers
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, NoAnswer, open_client
from quorate.metadata.config_keys import AlterOperation, ResourceType
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)

KEPT = "kept"
_ALIVE = 20
"""Topics that come and go: so many are there at a time."""
_TIMEOUT_MS = 10_000


@attrs.define(eq=False)
class Load:
    """What was done; a request that fails is tried again with the next one, since servers are restarted."""

    writes: int = 0
    topics: int = 0
    reads: int = 0
    failures: int = 0
    longest_gap_s: float = 0.0
    _last_s: float = 0.0

    async def run(self, files: ClusterFiles, writers: int) -> None:
        """Until cancelled."""
        async with open_client(parse_servers(files.bootstrap.split(","))) as client:
            await self._create(client, KEPT)
            self._last_s = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number in range(writers):
                    nursery.start_soon(self._write, client, number)
                nursery.start_soon(self._churn, client)

    async def look(self, files: ClusterFiles) -> None:
        """A new client each time: it connects, reads all metadata, and leaves."""
        while True:
            try:
                async with open_client(parse_servers(files.bootstrap.split(","))) as client:
                    await client.call_any(MetadataRequest(topics=None), _TIMEOUT_MS)
                self.reads += 1
            except NoAnswer:
                self.failures += 1
            await trio.sleep(0.2)

    async def _write(self, client: ClusterClient, number: int) -> None:
        for value in itertools.count(1_000_000 + number):
            change = IncrementalAlterableConfig(
                name="retention.ms", config_operation=AlterOperation.SET, value=str(value)
            )
            resource = IncrementalAlterConfigsResource(
                resource_type=ResourceType.TOPIC, resource_name=KEPT, configs=(change,)
            )
            if await self._ask(client, IncrementalAlterConfigsRequest(resources=(resource,))):
                self.writes += 1

    async def _churn(self, client: ClusterClient) -> None:
        for number in itertools.count():
            await self._create(client, f"churn-{number}")
            if number >= _ALIVE:
                await self._ask(
                    client,
                    DeleteTopicsRequest(
                        topics=(DeleteTopicState(name=f"churn-{number - _ALIVE}"),), timeout_ms=_TIMEOUT_MS
                    ),
                )
            await trio.sleep(0.05)

    async def _create(self, client: ClusterClient, name: str) -> None:
        """Until it is there: one that is left out would be missed by its deletion."""
        topic = CreatableTopic(name=name, num_partitions=3, replication_factor=1)
        request = CreateTopicsRequest(topics=(topic,), timeout_ms=_TIMEOUT_MS)
        while not await self._ask(client, request):  # noqa: ASYNC110  it is asked, not awaited
            await trio.sleep(0.1)
        self.topics += 1

    async def _ask(self, client: ClusterClient, request: object) -> bool:
        """Whether it was done (or had been)."""
        try:
            answer = await client.call_controller(request, _TIMEOUT_MS)
        except NoAnswer:  # its outcome may be unknown: then the next one finds out
            self.failures += 1
            return False
        results = answer.topics if isinstance(request, CreateTopicsRequest) else answer.responses
        if results[0].error_code not in (ErrorCode.none, ErrorCode.topic_already_exists):
            self.failures += 1
            await trio.sleep(0.05)
            return False
        now_s = trio.current_time()
        self.longest_gap_s = max(self.longest_gap_s, now_s - self._last_s) if self._last_s else 0.0
        self._last_s = now_s
        return True
