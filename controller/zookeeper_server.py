"""What the controller in ZooKeeper mode answers, for the clients of all brokers (shell).

Requests come in Envelopes from brokers that have no image (`calls.AskedAt`): changes go to the core; reads are
answered from its image, as if by the broker that was asked, once it is known that this broker holds the office still.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import structlog

from quorate.controller.context import NEWEST_API_VERSION
from quorate.controller.requests import PendingRequest
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_core import CHANGES
from quorate.metadata.calls import Call, answer_read, described_by
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ConfigKey
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.node import now_ms
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
    answer_describe_cluster,
    answer_describe_configs,
    answer_describe_tokens,
    answer_metadata,
    answer_topic_partitions,
    unknown_names,
)
from quorate.metadata.wire import cluster, configs, tokens
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse

_DEFAULT_TIMEOUT_MS: Final = 30_000
MAX_MADE_AT_ONCE: Final = 100
"""Topics that are made on demand; beyond it a client will ask again."""

_Read = Callable[[Call, MetadataImage], Any]
Submit = Callable[[PendingRequest], None]

_log = structlog.get_logger("controller")


class ZooKeeperOfficeServer:
    """Knows how to answer; when it may is decided by whoever calls it."""

    def __init__(
        self,
        *,
        config: ZooKeeperControllerConfig,
        cluster_id: str,
        image: Callable[[], MetadataImage | None],
        slow: SlowReads,
        own_keys: Mapping[str, ConfigKey],
    ) -> None:
        """`image`: None while the office is not held. `own_keys`: keys of a broker's file that are not Kafka's."""
        self.gate: Final = Gate(config.authorizer, image, at_controller=False)
        self._config = config
        self._cluster_id = cluster_id
        self._slow = slow
        self._making: set[str] = set()
        self._describing = DescribingNode(node_id=config.node_id, static=config.static, own_keys=own_keys)
        self._reads: Mapping[type, _Read] = {
            cluster.MetadataRequest: self._metadata,
            cluster.DescribeClusterRequest: self._describe_cluster,
            cluster.DescribeTopicPartitionsRequest: self._describe_topic_partitions,
            configs.DescribeConfigsRequest: self._describe_configs,
            tokens.DescribeDelegationTokenRequest: self._describe_tokens,
            **dict.fromkeys(SAME_EVERYWHERE, self._same_everywhere),
        }
        kinds = (*CHANGES, *self._reads)
        self.serves: Final = frozenset(kind.api_key for kind in kinds)  # type: ignore[attr-defined]

    def is_change(self, call: Call) -> bool:
        return type(call.request) in CHANGES

    def pending(self, call: Call) -> PendingRequest:
        """A change, as the core takes it; its answer is the call's."""
        timeout_ms = getattr(call.request, "timeout_ms", _DEFAULT_TIMEOUT_MS)
        return PendingRequest(
            request=call.request,
            token=call,
            deadline_ms=now_ms() + max(0, timeout_ms),
            api_version=call.api_version,
            principal=call.principal,
            by_token=call.by_token,
            client_id=call.client_id,
            client_host=call.client_host,
            permits=self.gate.permits(call),
        )

    def read(self, call: Call, image: MetadataImage, submit: Submit) -> None:
        """Answers from the image; in a thread what would hold up the session. `submit` takes topics to be made."""
        read = self._reads[type(call.request)]
        if isinstance(call.request, cluster.MetadataRequest):
            self._make_topics(call, call.request, image, submit)
        if is_slow(call.request, image):
            asked_from: Hashable = (self._viewpoint(call), self.gate.sees(call), described_by(call))
            self._slow.answer(call, lambda: read(call, image), sources_of(call.request, image, asked_from))
        else:
            answer_read(call, lambda call: read(call, image))

    # ---- reads -------------------------------------------------------------------------------------------

    def _viewpoint(self, call: Call) -> AtBroker:
        asked_at = call.asked_at
        return AtBroker(
            cluster_id=self._cluster_id,
            node_id=self._config.node_id if asked_at is None else asked_at.broker_id,
            listener_name=call.listener_name if asked_at is None else asked_at.listener_name,
        )

    def _metadata(self, call: Call, image: MetadataImage) -> Any:
        permits = self.gate.permits(call)
        return answer_metadata(
            image,
            call.request,
            self._viewpoint(call),
            call.api_version,
            permits,
            may_not_make=self._may_not_make(call.request, image, permits),
        )

    def _describe_cluster(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_cluster(image, call.request, self._viewpoint(call), self.gate.permits(call))

    def _describe_topic_partitions(self, call: Call, image: MetadataImage) -> Any:
        return answer_topic_partitions(image, call.request, self._viewpoint(call), self.gate.permits(call))

    def _describe_configs(self, call: Call, image: MetadataImage) -> Any:
        node = self._describing
        if call.asked_at is not None:
            node = node.standing_for(call.asked_at.broker_id, call.asked_at.configs)
        return answer_describe_configs(image, call.request, node, self.gate.permits(call))

    def _describe_tokens(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_tokens(
            image,
            call.request,
            principal=call.principal,
            by_token=call.by_token,
            permits=self.gate.permits(call),
            secret=self._config.delegation_token_secret_key,
        )

    def _same_everywhere(self, call: Call, image: MetadataImage) -> Any:
        return SAME_EVERYWHERE[type(call.request)](image, call.request)

    # ---- topics that are made because somebody asks for them ------------------------------------------------

    def _makes_topics(self, request: cluster.MetadataRequest) -> bool:
        return self._config.auto_create_topics_enable and request.allow_auto_topic_creation

    def _make_topics(
        self, call: Call, request: cluster.MetadataRequest, image: MetadataImage, submit: Submit
    ) -> None:
        """The client is told that there is no such topic, asks again, and finds it."""
        if not self._makes_topics(request):
            return
        permits = self.gate.permits(call)
        for name in unknown_names(image, request, permits):
            if name in self._making or len(self._making) >= MAX_MADE_AT_ONCE or not _may_make(permits, name):
                continue
            self._making.add(name)
            topic = CreatableTopic(
                name=name,
                num_partitions=self._config.num_partitions,
                replication_factor=self._config.default_replication_factor,
            )
            submit(
                PendingRequest(
                    request=CreateTopicsRequest(topics=(topic,), timeout_ms=_DEFAULT_TIMEOUT_MS),
                    token=_OnDemand(name, self._making),
                    deadline_ms=now_ms() + _DEFAULT_TIMEOUT_MS,
                    api_version=NEWEST_API_VERSION,
                    principal=call.principal,
                    by_token=call.by_token,
                    client_id=call.client_id,
                    client_host=call.client_host,
                    permits=permits,
                )
            )

    def _may_not_make(
        self, request: cluster.MetadataRequest, image: MetadataImage, permits: Permits
    ) -> frozenset[str]:
        """Of the names that are made on demand, those that the caller may not have made."""
        if permits is permit_everything or not self._makes_topics(request):
            return frozenset()
        names = unknown_names(image, request, permits)
        return frozenset(name for name in names if not _may_make(permits, name))


class _OnDemand:
    """Where the answer goes that nobody waits for: to the log, if it is bad news."""

    def __init__(self, name: str, making: set[str]) -> None:
        self._name = name
        self._making = making

    def answer(self, response: CreateTopicsResponse) -> None:
        self._making.discard(self._name)
        for topic in response.topics:
            if topic.error_code not in (ErrorCode.none, ErrorCode.topic_already_exists):
                _log.warning(
                    "a topic was not made on demand",
                    topic=topic.name,
                    error=topic.error_code.name.upper(),
                    why=topic.error_message,
                )


def _may_make(permits: Permits, name: str) -> bool:
    everywhere = permits(Operation.CREATE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False)
    return everywhere or permits(Operation.CREATE, Resource.TOPIC, name, log_if_denied=False)
