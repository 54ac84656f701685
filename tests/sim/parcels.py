"""What travels inside envelopes, without being written as bytes; and the one read that clients make.

Requests and answers are values here. An Envelope carries bytes, so what is inside gets a number, and the number is
what is carried: coding and decoding have laws of their own elsewhere (`tests/metadata/wire`), and cost a world most
of its speed.
"""

from typing import Any

import attrs

from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire import configs, topics
from tests.sim.history import TopicState
from tests.sim.images import UNIQUE_KEY


class Parcels:
    """By number, as long as the world lasts."""

    def __init__(self) -> None:
        self._content: list[Any] = []

    def wrap(self, content: Any) -> bytes:
        self._content.append(content)
        return b"%d" % (len(self._content) - 1)

    def open(self, data: bytes) -> Any:
        return self._content[int(data)]


@attrs.frozen
class ReadTopic:
    """What a topic is, from the image of whoever is asked."""

    topic: str


@attrs.frozen
class TopicRead:
    state: TopicState
    offset: int
    """The last offset that the answer rests on."""
    confirmed: bool = False
    """A majority has said since it was asked that this node leads: nothing acknowledged before may be missing."""


def read_topic(image: MetadataImage, request: ReadTopic, *, confirmed: bool = False) -> TopicRead:
    topic = image.topics.by_name(request.topic)
    if topic is None:
        return TopicRead(None, image.offset, confirmed)
    value = image.configs.of(ResourceType.TOPIC, request.topic).get(UNIQUE_KEY, "")
    return TopicRead((topic.partition_count, value), image.offset, confirmed)


def code_of(response: Any) -> ErrorCode:
    """That of the one item."""
    match response:
        case topics.CreateTopicsResponse(topics=items):
            return items[0].error_code
        case topics.CreatePartitionsResponse(results=items):
            return items[0].error_code
        case (
            topics.DeleteTopicsResponse(responses=items)
            | configs.IncrementalAlterConfigsResponse(responses=items)
        ):
            return items[0].error_code
        case _:
            raise InvariantViolated(f"a client was answered {response}")
