"""The features a cluster has finalized, as ApiVersions tells them (KIP-584)."""

from quorate.metadata.features import SUPPORTED
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.cluster import FinalizedFeatureKey, SupportedFeatureKey


def finalized_features(image: MetadataImage) -> tuple[int, tuple[FinalizedFeatureKey, ...]]:
    """(epoch, features by name). The epoch is the offset up to which the image has read; -1 before the first."""
    return image.provenance.offset, tuple(
        FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
        for name, level in sorted(image.features.levels.items())
        if level > 0
    )


def supported_features(api_version: int) -> tuple[SupportedFeatureKey, ...]:
    """What this node supports. Parsers of ApiVersions below version 4 fail on a feature that begins at 0."""
    return tuple(
        SupportedFeatureKey(name=name, min_version=supported.lowest, max_version=supported.highest)
        for name, supported in sorted(SUPPORTED.items())
        if api_version >= 4 or supported.lowest > 0
    )
