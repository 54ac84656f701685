"""Answers from the image: what brokers and controllers tell clients without asking anybody (pure).

One function per API, `answer_…`, from an image and a request to a response. Where the client stands decides what it
may be told: `AtBroker`, `AtController`.
"""

from quorate.metadata.views.api_versions import answer_api_versions
from quorate.metadata.views.cluster import answer_describe_cluster
from quorate.metadata.views.configs import DescribingNode, answer_describe_configs
from quorate.metadata.views.metadata import answer_metadata, unknown_names
from quorate.metadata.views.quorum import QuorumStatus, ReplicaStatus, answer_describe_quorum
from quorate.metadata.views.topic_partitions import answer_topic_partitions
from quorate.metadata.views.viewpoint import AtBroker, AtController, Viewpoint

__all__ = [
    "AtBroker",
    "AtController",
    "DescribingNode",
    "QuorumStatus",
    "ReplicaStatus",
    "Viewpoint",
    "answer_api_versions",
    "answer_describe_cluster",
    "answer_describe_configs",
    "answer_describe_quorum",
    "answer_metadata",
    "answer_topic_partitions",
    "unknown_names",
]
