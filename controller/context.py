"""What a handler sees: the image with everything that was decided so far, the time, chance, the node's settings.

Handlers read it and never change it. `image` is the speculative one: it holds what is appended but not committed
yet, so that two requests of one turn cannot both create the same topic.
"""

import functools
import random
from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from quorate.controller.config import ControllerConfig
from quorate.controller.mutation_quota import Allowance
from quorate.controller.policies import NO_POLICIES, Policies
from quorate.controller.result import TooLarge
from quorate.metadata import features
from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.config_keys import NodeConfigs, ResourceType, effective_topic_value
from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.quorum.voters import NO_VOTERS, VoterHistory
from quorate.metadata.records import AnyDataRecord, DataRecord
from quorate.metadata.security.permissions import Permits, permit_everything

NEWEST_API_VERSION: Final = 32767
MIN_ISR: Final = "min.insync.replicas"


class SessionView(Protocol):
    """What handlers may know about the brokers' sessions, which no record holds (`sessions.BrokerSessions`)."""

    def is_alive(self, broker_id: int, broker_epoch: int, now_ms: int) -> bool:
        """Whether this registration of an unfenced broker was heard of within the session timeout."""
        ...

    def is_settled(self, broker_id: int) -> bool:
        """Whether all of a broker's partitions reflect what was decided about it."""
        ...

    def may_leave(self, broker_id: int, now_ms: int) -> bool:
        """Whether the other brokers know by now what was moved away from a broker in controlled shutdown."""
        ...


@attrs.frozen(kw_only=True)
class Context:
    """Everything that a decision may depend on."""

    image: MetadataImage
    next_offset: Offset
    """The offset of the operation's first record."""
    now_ms: int
    wall_ms: int
    rng: random.Random
    config: ControllerConfig
    cluster_id: str
    sessions: SessionView
    api_version: int = NEWEST_API_VERSION
    """The version in which the request came; a few error codes depend on it."""
    permits: Permits = permit_everything
    policies: Policies = NO_POLICIES
    """What the operator's own code forbids."""
    principal: str = "User:ANONYMOUS"
    """Who asks."""
    by_token: bool = False
    """Whether it logged in by a delegation token."""
    voters: VoterHistory = NO_VOTERS
    """Of the quorum, as far as its log goes, and its kraft.version."""
    allowance: Allowance = attrs.field(factory=Allowance)
    """How many partitions it may still create and delete; what is taken of it is gone, as numbers out of `rng` are."""

    @property
    def metadata_version(self) -> int:
        """The finalized level, which decides the versions of records."""
        return self.image.features.metadata_version

    def version_of(self, record: type[DataRecord]) -> int:
        """The version in which a record is written now."""
        return features.record_version(record, self.metadata_version)

    def broker(self, broker_id: int) -> BrokerRegistration | None:
        return self.image.cluster.brokers.get(NodeId(broker_id))

    def is_active(self, broker_id: int) -> bool:
        """Registered, unfenced, and not on its way out: such a broker may lead and be in an ISR."""
        broker = self.broker(broker_id)
        return broker is not None and not broker.fenced and not broker.in_controlled_shutdown

    def node_configs(self) -> NodeConfigs:
        """This controller's own configs, by level: what a topic inherits."""
        return node_configs(self.image, self.config)

    def require_room(self, records: Sequence[AnyDataRecord], more: int, what: str) -> None:
        """Refuses an operation before it grows beyond what one request may cause.

        Kafka's controller once fell over such requests, one after the other, since clients retry (KAFKA-14204).

        Raises:
            TooLarge: POLICY_VIOLATION.
        """
        needed, limit = len(records) + more, self.config.max_records_per_operation
        if needed > limit:
            raise TooLarge(
                ErrorCode.policy_violation,
                f"Unable to perform excessively large batch operation: {what} needs at least {needed} metadata "
                f"records, one request may cause {limit}. Nothing was changed. Split the request.",
            )

    @property
    def keeps_eligible_leaders(self) -> bool:
        """Whether the cluster keeps eligible leader replicas (KIP-966)."""
        return self.image.features.level(features.ELR_VERSION) > 0

    def effective_min_isr(self, topic: TopicImage) -> int | None:
        """How many in-sync replicas a write to the topic needs, at most as many as there are; None where the cluster
        keeps no eligible leader replicas."""
        if not self.keeps_eligible_leaders:
            return None
        overrides = self.image.configs.of(ResourceType.TOPIC, topic.name)
        first = topic.partition(0)
        check(first is not None, f"topic {topic.name} has no partition 0")
        replicas = 0 if first is None else len(first.replicas)
        return min(_whole(effective_topic_value(MIN_ISR, overrides, self.node_configs())), replicas)

    def unclean_election_allowed(self, topic: str) -> bool:
        """unclean.leader.election.enable as it counts for a topic."""
        return unclean_election_allowed(self.image, self.config, topic)


def _whole(text: str | None) -> int:
    """Kafka's default where the configuration file of this node says something else than a number."""
    return int(text) if text is not None and text.strip().isdecimal() else 1


def node_configs(image: MetadataImage, config: ControllerConfig) -> NodeConfigs:
    """The configs of the controller itself: its dynamic ones, the cluster's dynamic defaults, its file."""
    return NodeConfigs(
        broker_dynamic=image.configs.of(ResourceType.BROKER, str(config.node_id)),
        cluster_dynamic=image.configs.of(ResourceType.BROKER, ""),
        static=config.static,
    )


def unclean_election_allowed(image: MetadataImage, config: ControllerConfig, topic: str) -> bool:
    """Topic override, else this node's dynamic value, else the cluster's, else the file's, else false."""
    overrides = image.configs.of(ResourceType.TOPIC, topic)
    value = effective_topic_value("unclean.leader.election.enable", overrides, node_configs(image, config))
    return _is_true(value)


@functools.lru_cache(64)
def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() == "true"
