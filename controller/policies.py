"""What an operator's own code may forbid: topics that are created, configs that are changed (KIP-108, KIP-133; pure).

A policy is a class of yours, named in the controllers' configuration:

    class ThreeReplicas:
        def configure(self, configs: Mapping[str, str]) -> None:  # may be left out
            self.least = int(configs["default.replication.factor"])

        def validate(self, request: TopicToCreate) -> None:
            if request.replication_factor is not None and request.replication_factor < self.least:
                raise PolicyViolation(f"{request.name} needs {self.least} replicas")

`create.topic.policy.class.name` says where it is, as a dotted path (`our_policies.ThreeReplicas`) or as the name of an
entry point of the group `quorate.create_topic_policy`; likewise `alter.config.policy.class.name` and
`quorate.alter_config_policy`. It is made without arguments when a controller starts, and `configure` is given the
texts of the controller's file. `validate` is called by the active controller, in its loop, after all of Kafka's
own checks: it must be quick, wait for nothing, and answer the same to the same. What it raises besides PolicyViolation
costs the caller an UNKNOWN_SERVER_ERROR and leaves a stack trace in the log.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from quorate.controller.result import reject
from quorate.metadata.checks import ErrorCode


class PolicyViolation(Exception):
    """Not allowed; the client is told the text, with POLICY_VIOLATION."""


@attrs.frozen(kw_only=True)
class TopicToCreate:
    """A topic that a client asks for. Either both counts are there, or the assignment."""

    name: str
    num_partitions: int | None
    replication_factor: int | None
    replicas_assignments: Mapping[int, tuple[int, ...]] | None
    """partition -> brokers, where the client chose them."""
    configs: Mapping[str, str]
    """What the client set, not what the topic inherits."""


@attrs.frozen(kw_only=True)
class ConfigsToAlter:
    """Changes of one resource's configs; of a new topic those that it is created with."""

    resource_type: int
    """2 a topic, 4 a broker, 16 client metrics, 32 a group."""
    resource_name: str
    """Empty: the default of all brokers."""
    configs: Mapping[str, str | None]
    """What is set, and as None what is deleted by name. A value that stays what it is is only there for brokers."""


class CreateTopicPolicy(Protocol):
    def validate(self, request: TopicToCreate) -> None:
        """
        Raises:
            PolicyViolation: this topic may not be created. The others of the same request may.
        """
        ...


class AlterConfigPolicy(Protocol):
    def validate(self, request: ConfigsToAlter) -> None:
        """
        Raises:
            PolicyViolation: these changes may not be made. Those of other resources may.
        """
        ...


@attrs.frozen
class Policies:
    """Those of a controller. None: everything is allowed."""

    create_topic: CreateTopicPolicy | None = None
    alter_config: AlterConfigPolicy | None = None

    def check_topic(self, request: TopicToCreate) -> None:
        """
        Raises:
            RequestRejected: POLICY_VIOLATION.
        """
        if self.create_topic is not None:
            try:
                self.create_topic.validate(request)
            except PolicyViolation as violation:
                reject(ErrorCode.policy_violation, str(violation))

    def check_configs(self, request: ConfigsToAlter) -> None:
        """
        Raises:
            RequestRejected: POLICY_VIOLATION.
        """
        if self.alter_config is not None:
            try:
                self.alter_config.validate(request)
            except PolicyViolation as violation:
                reject(ErrorCode.policy_violation, str(violation))


NO_POLICIES: Final = Policies()
