"""What eligible leader replicas ask of min.insync.replicas (KIP-966).

Who is eligible follows from that number, so every controller must see the same one: the cluster has a value of its own,
and no broker another. A list that was kept under one number says nothing under another, and is forgotten when it
changes: a replica that left an ISR of two was complete while writes needed two, and not any more once they need one.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from quorate.controller.config import ControllerConfig
from quorate.controller.context import MIN_ISR, Context
from quorate.controller.result import reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import NodeConfigs, ResourceType, effective_topic_value
from quorate.metadata.features import ELR_VERSION
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import AnyDataRecord, ClearElrRecord, ConfigRecord, FeatureLevelRecord

CLUSTER: Final = ""
"""The BROKER resource whose configs count for all brokers."""


def first_records(image: MetadataImage, config: ControllerConfig) -> Iterator[ConfigRecord]:
    """What has to stand in the log when the feature begins: one value for the cluster, none for single brokers."""
    if MIN_ISR not in image.configs.of(ResourceType.BROKER, CLUSTER):
        static = effective_topic_value(
            MIN_ISR, {}, NodeConfigs(broker_dynamic={}, cluster_dynamic={}, static=config.static)
        )
        yield _min_isr(CLUSTER, static or "1")
    for (type_, name), values in image.configs.resources():
        if type_ == ResourceType.BROKER and name != CLUSTER and MIN_ISR in values:
            yield _min_isr(name, None)


def begins(records: Iterable[AnyDataRecord]) -> bool:
    """Whether records finalize the feature."""
    return any(
        isinstance(record, FeatureLevelRecord) and record.name == ELR_VERSION and record.feature_level > 0
        for record in records
    )


def check_config(context: Context, type_: int, name: str, changes: Mapping[str, str | None]) -> None:
    """Whether a change of configs leaves the cluster with its one value.

    Raises:
        RequestRejected: INVALID_CONFIG.
    """
    if not context.keeps_eligible_leaders or type_ != ResourceType.BROKER or MIN_ISR not in changes:
        return
    if name != CLUSTER:
        reject(
            ErrorCode.invalid_config,
            f"Broker-level {MIN_ISR} cannot be altered while ELR is enabled. Set it for topics, or for all brokers.",
        )
    if changes[MIN_ISR] is None:
        reject(
            ErrorCode.invalid_config,
            f"Cluster-level {MIN_ISR} cannot be removed while ELR is enabled. Set it to another value.",
        )


def forgetting(context: Context, record: ConfigRecord) -> Iterator[ClearElrRecord]:
    """Forgets who was eligible under the number that this record changes."""
    if context.keeps_eligible_leaders and record.name == MIN_ISR:
        of_topic = record.resource_type == ResourceType.TOPIC
        yield ClearElrRecord(
            version=context.version_of(ClearElrRecord), topic_name=record.resource_name if of_topic else ""
        )


def _min_isr(name: str, value: str | None) -> ConfigRecord:
    return ConfigRecord(resource_type=int(ResourceType.BROKER), resource_name=name, name=MIN_ISR, value=value)
