"""What the controller in ZooKeeper mode answers, for the clients of all brokers (shell).

Requests come in Envelopes from brokers that have no image (`calls.AskedAt`): changes go to the core; reads are
answered from its image, as if by the broker that was asked, once it is known that this broker holds the office still.
"""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from quorate.controller.context import NEWEST_API_VERSION
from quorate.controller.requests import PendingRequest
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_core import CHANGES
from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ConfigKey
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image_reads import ImageReads, Reader
from quorate.metadata.node import now_ms
from quorate.metadata.security.gate import Gate
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.views import AtBroker, DescribingNode
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse

_DEFAULT_TIMEOUT_MS: Final = 30_000
MAX_MADE_AT_ONCE: Final = 100
"""Topics that are made on demand; beyond it a client will ask again."""

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
        self._making: set[str] = set()
        self._reads = ImageReads(
            Reader(
                gate=self.gate,
                viewpoint=self._viewpoint,
                describing=DescribingNode(node_id=config.node_id, static=config.static, own_keys=own_keys),
                token_secret=config.delegation_token_secret_key,
                makes_topics=config.auto_create_topics_enable,
            ),
            slow,
        )
        kinds = (*CHANGES, *self._reads.kinds)
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
        """Answers from the image. `submit` takes topics to be made: the client is told that there is no such topic,
        asks again, and finds it."""
        for name in self._reads.topics_to_make(call, image):
            self._make_topic(name, call, submit)
        self._reads.answer(call, image)

    def _viewpoint(self, call: Call) -> AtBroker:
        asked_at = call.asked_at
        return AtBroker(
            cluster_id=self._cluster_id,
            node_id=self._config.node_id if asked_at is None else asked_at.broker_id,
            listener_name=call.listener_name if asked_at is None else asked_at.listener_name,
        )

    def _make_topic(self, name: str, call: Call, submit: Submit) -> None:
        if name in self._making or len(self._making) >= MAX_MADE_AT_ONCE:
            return
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
                permits=self.gate.permits(call),
            )
        )


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
