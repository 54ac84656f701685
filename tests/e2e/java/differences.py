"""What Kafka's tools print of Quorate and not of Kafka: each difference once, with its reason."""

import re
from collections.abc import Sequence
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Difference:
    """Where Kafka prints `kafka`, a regular expression for whole lines, we print `ours`."""

    chapters: Sequence[str]
    kafka: str
    ours: str = ""
    why: str


DIFFERENCES: Final[tuple[Difference, ...]] = ()


def expected(chapter: str, golden: str) -> str:
    """What Kafka's tools print of Quorate, from what they print of Kafka."""
    for one in DIFFERENCES:
        if chapter in one.chapters:
            golden = re.sub(f"(?m)^(?:{one.kafka})\\n", one.ours, golden)
    return golden
