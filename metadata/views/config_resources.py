"""The answer to ListConfigResources (KIP-714, KIP-1142): the things that have configs, or could have some."""

from collections.abc import Iterable

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.configs import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)


def answer_list_config_resources(
    image: MetadataImage, request: ListConfigResourcesRequest
) -> ListConfigResourcesResponse:
    """Topics and unfenced brokers, whether anything is set on them or not; of groups and client metrics those on which
    something is. Every such broker is also listed as a BROKER_LOGGER, as in Kafka; what its log levels are it is asked
    itself.

    Raises:
        RequestRejected: UNSUPPORTED_VERSION, Kafka's code for a type that it does not know.
    """
    kinds = {int(kind) for kind in ResourceType}
    unknown = [kind for kind in request.resource_types if kind not in kinds]
    if unknown:
        raise RequestRejected(
            ErrorCode.unsupported_version,
            f"Resource type {unknown[0]} is not known; there are {sorted(kinds)}.",
        )
    asked = set(request.resource_types) or kinds
    return ListConfigResourcesResponse(
        config_resources=tuple(
            ConfigResource(resource_name=name, resource_type=kind)
            for kind in sorted(asked)
            for name in _names(image, kind)
        )
    )


def _names(image: MetadataImage, kind: int) -> Iterable[str]:
    match kind:
        case ResourceType.TOPIC:
            return image.topics.names()
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER:
            brokers = image.cluster.brokers
            return [str(broker_id) for broker_id in sorted(brokers) if not brokers[broker_id].fenced]
        case ResourceType.GROUP | ResourceType.CLIENT_METRICS:
            return [name for (of, name), _ in image.configs.resources() if of == kind]
        case _:  # checked before
            return ()
