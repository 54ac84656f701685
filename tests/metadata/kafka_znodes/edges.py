"""Reading a healthy tree with something added or taken away, and what is said about it."""

from quorate.metadata.records import AnyDataRecord
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from tests.metadata.kafka_znodes.trees import Content, healthy_and


def read_with(more: Content, *without: str, **options: object) -> Reading:
    """The healthy tree with `more`, and `without` some of it."""
    return read(healthy_and(more, *without), ReadOptions(**options))  # type: ignore[arg-type]


def found(reading: Reading) -> list[tuple[str, str, str]]:
    """(severity, code, path) of all but the reassignment that the healthy tree has."""
    return [
        (trouble.severity.value, trouble.code, trouble.path)
        for trouble in reading.troubles
        if trouble.code != "reassigning"
    ]


def of(reading: Reading, kind: type[AnyDataRecord]) -> list[AnyDataRecord]:
    """The records of one kind."""
    return [record for record in reading.records() if isinstance(record, kind)]
