"""What a broker answers on its listeners: reads from the published image, writes handed to the controller (shell).

Nothing is offered that does not work: there is no topic data, so Produce, Fetch and what coordinators do are not
advertised, and of what is forwarded only the versions that the active controller speaks too (KIP-590). Beside brokers
with topic data it answers what clients of those ask of whichever broker they meet first: who coordinates a group, an
id for an idempotent producer, which transactions it knows. A client would take it for too old otherwise, and give up.
"""

from collections.abc import Callable
from typing import Any, Final

from quorate.broker.autocreate import TopicMaker
from quorate.broker.config import BrokerConfig
from quorate.broker.log_dirs import describe_log_dirs
from quorate.broker.relay import Relay
from quorate.metadata.calls import Call
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image_reads import ImageReads, Reader
from quorate.metadata.security.gate import Gate
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.views import (
    AtBroker,
    DescribingNode,
    answer_api_versions,
    answer_find_coordinator,
)
from quorate.metadata.wire import cluster, coordinators, groups, log_dirs
from quorate.metadata.wire.table import APIS

_OF_CLIENTS_OF_DATA: Final = frozenset(
    kind.api_key
    for kind in (
        coordinators.FindCoordinatorRequest,
        coordinators.InitProducerIdRequest,
        coordinators.ListTransactionsRequest,
    )
)
"""Offered while some broker stores topic data: in a cluster of these brokers alone it would lead nowhere."""


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
        self._gate = Gate(config.authorizer, published, at_controller=False)
        self._kraft_version = kraft_version
        self._controller_versions = controller_versions
        self._topic_maker = TopicMaker(config, relay)
        self._reads = ImageReads(
            Reader(
                gate=self._gate,
                viewpoint=self._viewpoint,
                describing=DescribingNode(
                    node_id=config.node_id, static=config.static, own_keys=type(config).own_keys()
                ),
                token_secret=config.delegation_token_secret_key,
                makes_topics=config.auto_create_topics_enable,
            ),
            slow,
            {
                log_dirs.DescribeLogDirsRequest: self._describe_log_dirs,
                groups.ListGroupsRequest: self._list_groups,
                coordinators.FindCoordinatorRequest: self._find_coordinator,
                coordinators.ListTransactionsRequest: self._list_transactions,
            },
        )
        forwarded = (key for key, api in APIS.items() if api.forwardable)
        self.serves = frozenset((*(kind.api_key for kind in self._reads.kinds), *forwarded))  # type: ignore[attr-defined]

    def api_versions(self, listener_name: str) -> cluster.ApiVersionsResponse:
        image = self._image()
        serves = self.serves if image.cluster.has_data else self.serves - _OF_CLIENTS_OF_DATA
        return answer_api_versions(
            image,
            (*serves, cluster.ApiVersionsRequest.api_key),
            kraft_version=self._kraft_version(),
            controller=self._controller_versions(),
        )

    def handle(self, call: Call) -> None:
        if type(call.request) not in self._reads.kinds:
            self._relay.forward(call)  # the controller asks what its sender may do
        elif self._gate.admits(call):
            image = self._image()
            for name in self._reads.topics_to_make(call, image):
                self._topic_maker.make(name, call)
            self._reads.answer(call, image)

    def _viewpoint(self, call: Call) -> AtBroker:
        return AtBroker(
            cluster_id=self._cluster_id, node_id=self._config.node_id, listener_name=call.listener_name
        )

    def _describe_log_dirs(self, call: Call, image: MetadataImage) -> Any:
        return describe_log_dirs(self._config.metadata_log_dir)

    def _list_groups(self, call: Call, image: MetadataImage) -> Any:
        """A broker without topic data coordinates no group. Kafka's kafka-configs asks before it describes groups."""
        return groups.ListGroupsResponse()

    def _find_coordinator(self, call: Call, image: MetadataImage) -> Any:
        permits = self._gate.permits(call)
        return answer_find_coordinator(image, call.request, self._viewpoint(call), call.api_version, permits)

    def _list_transactions(self, call: Call, image: MetadataImage) -> Any:
        """Whoever lists them asks every broker. The names of states are for coordinators to judge."""
        return coordinators.ListTransactionsResponse()
