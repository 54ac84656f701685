"""The immutable metadata image, the delta that interprets records, and the writer that turns it back into records.

Names that other packages need most are found here; each lives in the piece named after it.
"""

from quorate.metadata.image.changes import Changes, difference
from quorate.metadata.image.cluster import BrokerRegistration, ClusterImage, ControllerRegistration
from quorate.metadata.image.configs import ConfigsImage
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage, TopicsImage
from quorate.metadata.image.transactions import TransactionGate
from quorate.metadata.image.writer import DigestWork, digest, image_records

__all__ = [
    "BrokerRegistration",
    "Changes",
    "ClusterImage",
    "ConfigsImage",
    "ControllerRegistration",
    "DigestWork",
    "MetadataDelta",
    "MetadataImage",
    "PartitionRegistration",
    "Provenance",
    "ReplayError",
    "TopicImage",
    "TopicsImage",
    "TransactionGate",
    "difference",
    "digest",
    "image_records",
]
