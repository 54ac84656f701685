"""What a broker answers on its listeners: reads from the published image, writes handed to the controller (shell).

Nothing is offered that does not work: there is no topic data, so Produce, Fetch and the coordinators' requests are
not advertised, and of what is forwarded only the versions that the active controller speaks too (KIP-590).
"""

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from quorate.broker.autocreate import TopicMaker
from quorate.broker.config import BrokerConfig
from quorate.broker.relay import Relay
from quorate.metadata.calls import Call, answer_read
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.gate import Gate
from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permits,
    Resource,
    permit_everything,
)
from quorate.metadata.slow_reads import SlowReads, is_slow, sources_of
from quorate.metadata.views import (
    SAME_EVERYWHERE,
    AtBroker,
    DescribingNode,
    answer_api_versions,
    answer_describe_cluster,
    answer_describe_configs,
    answer_describe_tokens,
    answer_metadata,
    answer_topic_partitions,
    unknown_names,
)
from quorate.metadata.wire import cluster, configs, groups, log_dirs, tokens
from quorate.metadata.wire.table import APIS

_Read = Callable[[Call, MetadataImage], Any]


class BrokerServer:
    """A `calls.Service`."""

    def __init__(
        self,
        *,
        config: BrokerConfig,
        cluster_id: str,
        image: Callable[[], MetadataImage],
        published: Callable[[], MetadataImage | None],
        relay: Relay,
        slow: SlowReads,
        kraft_version: Callable[[], int],
        controller_versions: Callable[[], cluster.ApiVersionsResponse | None],
    ) -> None:
        """`image`: what is published now, the empty one before the first; `published`: the same, but None then.
        `controller_versions`: what the active controller says of itself.
        """
        self._config = config
        self._cluster_id = cluster_id
        self._image = image
        self._relay = relay
        self._slow = slow
        self._gate = Gate(config.authorizer, published, at_controller=False)
        self._kraft_version = kraft_version
        self._controller_versions = controller_versions
        self._describing = DescribingNode(
            node_id=config.node_id, static=config.static, own_keys=type(config).own_keys()
        )
        self._topic_maker = TopicMaker(config, relay) if config.auto_create_topics_enable else None
        self._reads: Mapping[int, _Read] = {
            cluster.MetadataRequest.api_key: self._metadata,
            cluster.DescribeClusterRequest.api_key: self._describe_cluster,
            cluster.DescribeTopicPartitionsRequest.api_key: self._describe_topic_partitions,
            configs.DescribeConfigsRequest.api_key: self._describe_configs,
            tokens.DescribeDelegationTokenRequest.api_key: self._describe_tokens,
            log_dirs.DescribeLogDirsRequest.api_key: self._describe_log_dirs,
            groups.ListGroupsRequest.api_key: self._list_groups,
            **{kind.api_key: self._same_everywhere for kind in SAME_EVERYWHERE},  # type: ignore[attr-defined]
        }
        forwarded = (key for key, api in APIS.items() if api.forwardable)
        self.serves = frozenset((*self._reads, *forwarded))

    def api_versions(self, listener_name: str) -> cluster.ApiVersionsResponse:
        return answer_api_versions(
            self._image(),
            (*self.serves, cluster.ApiVersionsRequest.api_key),
            kraft_version=self._kraft_version(),
            controller=self._controller_versions(),
        )

    def handle(self, call: Call) -> None:
        read = self._reads.get(call.api_key)
        if read is None:
            self._relay.forward(call)  # the controller asks what its sender may do
            return
        if not self._gate.admits(call):
            return
        image = self._image()
        self._make_topics(call, image)
        if is_slow(call.request, image):
            sources = sources_of(call.request, image, (self._viewpoint(call), self._gate.sees(call)))
            self._slow.answer(call, lambda: read(call, image), sources)
        else:
            answer_read(call, lambda call: read(call, image))

    def _make_topics(self, call: Call, image: MetadataImage) -> None:
        request = call.request
        if self._topic_maker is None or not isinstance(request, cluster.MetadataRequest):
            return
        if not request.allow_auto_topic_creation:
            return
        permits = self._gate.permits(call)
        for name in unknown_names(image, request, permits):
            if _may_make(permits, name, log_if_denied=False):
                self._topic_maker.make(name, call)

    def _may_not_make(self, call: Call, image: MetadataImage, permits: Permits) -> frozenset[str]:
        """Of the names that are made on demand, those that the caller may not have made."""
        if permits is permit_everything or self._topic_maker is None:
            return frozenset()
        if not call.request.allow_auto_topic_creation:
            return frozenset()
        return frozenset(
            name for name in unknown_names(image, call.request, permits) if not _may_make(permits, name)
        )

    # ---- reads ---------------------------------------------------------------------------------------

    def _viewpoint(self, call: Call) -> AtBroker:
        return AtBroker(
            cluster_id=self._cluster_id, node_id=self._config.node_id, listener_name=call.listener_name
        )

    def _metadata(self, call: Call, image: MetadataImage) -> Any:
        permits = self._gate.permits(call)
        return answer_metadata(
            image,
            call.request,
            self._viewpoint(call),
            call.api_version,
            permits,
            may_not_make=self._may_not_make(call, image, permits),
        )

    def _describe_log_dirs(self, call: Call, image: MetadataImage) -> Any:
        """One directory, and no topic's data in it. Kafka's kafka-reassign-partitions asks before it plans."""
        directory = self._config.metadata_log_dir.absolute()
        try:
            disk = shutil.disk_usage(directory)
        except OSError as error:
            raise RequestRejected(ErrorCode.kafka_storage_error, f"{directory}: {error.strerror}") from error
        found = log_dirs.DescribeLogDirsResult(
            log_dir=str(directory), total_bytes=disk.total, usable_bytes=disk.free
        )
        return log_dirs.DescribeLogDirsResponse(results=(found,))

    def _list_groups(self, call: Call, image: MetadataImage) -> Any:
        """A broker without topic data coordinates no group. Kafka's kafka-configs asks before it describes groups."""
        return groups.ListGroupsResponse()

    def _describe_tokens(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_tokens(
            image,
            call.request,
            principal=call.principal,
            by_token=call.by_token,
            permits=self._gate.permits(call),
            secret=self._config.delegation_token_secret_key,
        )

    def _same_everywhere(self, call: Call, image: MetadataImage) -> Any:
        return SAME_EVERYWHERE[type(call.request)](image, call.request)

    def _describe_cluster(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_cluster(image, call.request, self._viewpoint(call), self._gate.permits(call))

    def _describe_topic_partitions(self, call: Call, image: MetadataImage) -> Any:
        return answer_topic_partitions(image, call.request, self._viewpoint(call), self._gate.permits(call))

    def _describe_configs(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_configs(image, call.request, self._describing, self._gate.permits(call))


def _may_make(permits: Permits, name: str, *, log_if_denied: bool = True) -> bool:
    everywhere = permits(Operation.CREATE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False)
    return everywhere or permits(Operation.CREATE, Resource.TOPIC, name, log_if_denied=log_if_denied)
