"""MetadataImage: everything the cluster agrees on at one offset, immutable and structurally shared.

An image is never changed; a delta (`delta`) makes the next one, which shares all that did not change. Going back is
keeping the older reference. Equal images are equal whatever path led to them. Maps that are keyed by text iterate in
an order that differs between processes: whatever decides something goes through the sorted iterators.
"""

from typing import ClassVar

import attrs

from quorate.metadata.image.cluster import ClusterImage
from quorate.metadata.image.configs import ConfigsImage
from quorate.metadata.image.security import AclsImage, CredentialsImage, TokensImage
from quorate.metadata.image.settings import FeaturesImage, ProducerIdsImage, QuotasImage
from quorate.metadata.image.topics import TopicsImage
from quorate.metadata.records import MigrationOrderRecord, MigrationState, QuorumRecoveryRecord


@attrs.frozen(kw_only=True)
class Provenance:
    """Where an image comes from: the last record that is in it."""

    offset: int
    """The last offset contained; -1 in the empty image."""
    epoch: int
    append_time_ms: int
    """When the leader appended that record's batch, wall clock ms; 0 in the empty image."""


NOWHERE = Provenance(offset=-1, epoch=0, append_time_ms=0)


@attrs.frozen(kw_only=True)
class MetadataImage:
    """The metadata of the whole cluster."""

    EMPTY: ClassVar["MetadataImage"]

    provenance: Provenance
    features: FeaturesImage
    cluster: ClusterImage
    topics: TopicsImage
    configs: ConfigsImage
    quotas: QuotasImage
    producer_ids: ProducerIdsImage
    acls: AclsImage
    credentials: CredentialsImage
    tokens: TokensImage
    migration: MigrationState
    migration_order: MigrationOrderRecord | None
    """The last order about the move from ZooKeeper; None: there was none."""
    recoveries: tuple[QuorumRecoveryRecord, ...]
    """How often, and how, the quorum was made anew without a majority of the old one; the last one counts."""

    @property
    def offset(self) -> int:
        """The last offset contained."""
        return self.provenance.offset

    def same_metadata(self, other: "MetadataImage") -> bool:
        """Equal but for where they come from."""
        return attrs.evolve(self, provenance=other.provenance) == other


MetadataImage.EMPTY = MetadataImage(
    provenance=NOWHERE,
    features=FeaturesImage.EMPTY,
    cluster=ClusterImage.EMPTY,
    topics=TopicsImage.EMPTY,
    configs=ConfigsImage.EMPTY,
    quotas=QuotasImage.EMPTY,
    producer_ids=ProducerIdsImage.EMPTY,
    acls=AclsImage.EMPTY,
    credentials=CredentialsImage.EMPTY,
    tokens=TokensImage.EMPTY,
    migration=MigrationState.NONE,
    migration_order=None,
    recoveries=(),
)
