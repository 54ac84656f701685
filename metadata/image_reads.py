"""Reads that are answered from an image alone, by whoever has one: brokers, controllers, the controller in ZooKeeper
mode (shell: large ones go to a thread).

Who may read at which moment is for the servers to know; what an answer depends on is settled here, once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from quorate.metadata.calls import Call, answer_read, described_by
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.gate import Gate
from quorate.metadata.security.permissions import permit_everything
from quorate.metadata.slow_reads import SlowReads, is_slow, sources_of
from quorate.metadata.views import (
    SAME_EVERYWHERE,
    DescribingNode,
    Viewpoint,
    answer_describe_cluster,
    answer_describe_configs,
    answer_describe_tokens,
    answer_metadata,
    answer_topic_partitions,
    may_make,
    unknown_names,
)
from quorate.metadata.wire import cluster, configs, tokens

Read = Callable[[Call, MetadataImage], Any]
"""A response. May raise RequestRejected."""


@attrs.frozen(kw_only=True)
class Reader:
    """Who answers."""

    gate: Gate
    viewpoint: Callable[[Call], Viewpoint]
    """Where a client stands."""
    describing: DescribingNode
    token_secret: str | None = attrs.field(repr=False)
    makes_topics: bool = False
    """Whether topics that are asked for and do not exist are made."""


class ImageReads:
    """See the module's docstring."""

    def __init__(self, reader: Reader, slow: SlowReads, more: Mapping[type, Read] | None = None) -> None:
        """`more`: what only this server answers."""
        self._reader = reader
        self._slow = slow
        self._reads: Final[Mapping[type, Read]] = {
            cluster.MetadataRequest: self._metadata,
            cluster.DescribeClusterRequest: self._describe_cluster,
            cluster.DescribeTopicPartitionsRequest: self._describe_topic_partitions,
            configs.DescribeConfigsRequest: self._describe_configs,
            tokens.DescribeDelegationTokenRequest: self._describe_tokens,
            **dict.fromkeys(SAME_EVERYWHERE, _same_everywhere),
            **(more or {}),
        }
        self.kinds: Final = frozenset(self._reads)
        """The requests that are answered here."""

    def answer(self, call: Call, image: MetadataImage) -> None:
        """From one image; in a thread what would hold up elections and sessions."""
        read = self._reads[type(call.request)]
        if is_slow(call.request, image):
            reader = self._reader
            asked_from = (reader.viewpoint(call), reader.gate.sees(call), described_by(call))
            self._slow.answer(call, lambda: read(call, image), sources_of(call.request, image, asked_from))
        else:
            answer_read(call, lambda call: read(call, image))

    def topics_to_make(self, call: Call, image: MetadataImage) -> Iterator[str]:
        """The names that a call asks for, that are no topics yet, and that its caller may have made."""
        request = call.request
        if not isinstance(request, cluster.MetadataRequest) or not self._makes_topics(request):
            return
        permits = self._reader.gate.permits(call)
        for name in unknown_names(image, request, permits):
            if may_make(permits, name, log_if_denied=False):
                yield name

    def _makes_topics(self, request: cluster.MetadataRequest) -> bool:
        return self._reader.makes_topics and request.allow_auto_topic_creation

    def _metadata(self, call: Call, image: MetadataImage) -> Any:
        permits = self._reader.gate.permits(call)
        not_made: frozenset[str] = frozenset()
        if permits is not permit_everything and self._makes_topics(call.request):
            names = unknown_names(image, call.request, permits)
            not_made = frozenset(name for name in names if not may_make(permits, name))
        return answer_metadata(
            image,
            call.request,
            self._reader.viewpoint(call),
            call.api_version,
            permits,
            may_not_make=not_made,
        )

    def _describe_cluster(self, call: Call, image: MetadataImage) -> Any:
        reader = self._reader
        return answer_describe_cluster(image, call.request, reader.viewpoint(call), reader.gate.permits(call))

    def _describe_topic_partitions(self, call: Call, image: MetadataImage) -> Any:
        reader = self._reader
        return answer_topic_partitions(image, call.request, reader.viewpoint(call), reader.gate.permits(call))

    def _describe_configs(self, call: Call, image: MetadataImage) -> Any:
        node = self._reader.describing
        if call.asked_at is not None:
            node = node.standing_for(call.asked_at.broker_id, call.asked_at.configs)
        return answer_describe_configs(image, call.request, node, self._reader.gate.permits(call))

    def _describe_tokens(self, call: Call, image: MetadataImage) -> Any:
        return answer_describe_tokens(
            image,
            call.request,
            principal=call.principal,
            by_token=call.by_token,
            permits=self._reader.gate.permits(call),
            secret=self._reader.token_secret,
        )


def _same_everywhere(call: Call, image: MetadataImage) -> Any:
    return SAME_EVERYWHERE[type(call.request)](image, call.request)
