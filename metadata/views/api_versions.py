"""The answer to ApiVersions (KIP-35, KIP-511, KIP-584): what works here, and which features are finalized.

A broker shows of each API that it only forwards the versions that the active controller speaks too; what that one
lacks is hidden. Before a controller has been reached it shows its own.
"""

from collections.abc import Iterable, Iterator

from quorate.metadata.features import KRAFT_VERSION, SUPPORTED
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.cluster import (
    ApiVersion,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)
from quorate.metadata.wire.table import APIS, offered


def answer_api_versions(
    image: MetadataImage,
    keys: Iterable[int],
    *,
    kraft_version: int,
    controller: ApiVersionsResponse | None = None,
) -> ApiVersionsResponse:
    """For a service that serves these APIs.

    `kraft_version` is finalized by the quorum and not in the image. `controller`: what the active controller says
    of itself, where forwardable APIs are forwarded to it.
    """
    versions = offered(keys)
    if controller is not None:
        versions = tuple(_as_forwarded(versions, controller))
    return ApiVersionsResponse(
        api_keys=versions,
        supported_features=tuple(
            SupportedFeatureKey(name=name, min_version=levels.lowest, max_version=levels.highest)
            for name, levels in sorted(SUPPORTED.items())
        ),
        finalized_features_epoch=image.offset,
        finalized_features=_finalized(image, kraft_version),
    )


def _finalized(image: MetadataImage, kraft_version: int) -> tuple[FinalizedFeatureKey, ...]:
    levels = dict(image.features.levels)
    if levels and kraft_version > 0:
        levels[KRAFT_VERSION] = kraft_version
    return tuple(
        FinalizedFeatureKey(name=name, min_version_level=level, max_version_level=level)
        for name, level in sorted(levels.items())
    )


def _as_forwarded(own: Iterable[ApiVersion], controller: ApiVersionsResponse) -> Iterator[ApiVersion]:
    theirs = {one.api_key: one for one in controller.api_keys}
    for one in own:
        if not APIS[one.api_key].forwardable:
            yield one
            continue
        other = theirs.get(one.api_key)
        if other is None:
            continue
        first, last = (
            max(one.min_version, other.min_version),
            min(one.max_version, other.max_version),
        )
        if first <= last:
            yield ApiVersion(api_key=one.api_key, min_version=first, max_version=last)
