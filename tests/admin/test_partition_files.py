"""The JSON files of Kafka's tools: what is understood, and what is refused with its reason."""

import json

import pytest

from quorate.admin.errors import WrongUsage
from quorate.admin.partition_files import assignments_document, read_assignments, read_places, read_topics


@pytest.fixture
def write(tmp_path):
    def write_one(document):
        path = tmp_path / "file.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write_one


def test_what_is_written_is_read_again(write):
    assignments = {("a", 0): (1, 2), ("a", 10): (3,), ("b", 2): (2, 1)}
    document = assignments_document(assignments)

    assert [one["log_dirs"] for one in document["partitions"]] == [["any", "any"], ["any"], ["any", "any"]]
    assert read_assignments(write(document)) == assignments


def test_topics_and_places_each_once(write):
    assert read_topics(write({"version": 1, "topics": [{"topic": "b"}, {"topic": "a"}, {"topic": "b"}]})) == [
        "b",
        "a",
    ]
    place = {"topic": "t", "partition": 3}
    assert read_places(write({"partitions": [place, place]})) == [("t", 3)]


ONE = {"topic": "t", "partition": 0, "replicas": [1, 2]}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "no readable JSON"),
        ([], 'no list "partitions"'),
        ({"version": 2, "partitions": []}, "of version 2"),
        ({"version": 1, "partitions": ["t-0"]}, "is no object"),
        ({"version": 1, "partitions": [{"topic": "t", "replicas": [1]}]}, 'no "topic" and "partition"'),
        ({"version": 1, "partitions": [{**ONE, "partition": -1}]}, 'no "topic" and "partition"'),
        ({"version": 1, "partitions": [{**ONE, "replicas": []}]}, "no list of broker ids"),
        ({"version": 1, "partitions": [{**ONE, "replicas": [True]}]}, "no list of broker ids"),
        ({"version": 1, "partitions": [{**ONE, "replicas": [1, 1]}]}, "names a broker twice"),
        ({"version": 1, "partitions": [ONE, ONE]}, "stands there twice"),
        ({"version": 1, "partitions": [{**ONE, "log_dirs": ["any", "/d"]}]}, "names log directories"),
        ({"version": 1, "partitions": [{**ONE, "log_dirs": ["any"]}]}, "not one of log_dirs for each"),
        ({"version": 1, "partitions": [{**ONE, "log_dirs": None}]}, "not one of log_dirs for each"),
        ({"version": 1, "partitions": [{**ONE, "log_dirs": 2}]}, "not one of log_dirs for each"),
        ({"version": 1, "partitions": [{**ONE, "replicas": [2**31]}]}, "no list of broker ids"),
        ({"version": 1, "partitions": [{**ONE, "partition": 2**31}]}, 'no "topic" and "partition"'),
    ],
)
def test_files_that_cannot_be_used(write, document, why):
    with pytest.raises(WrongUsage) as refusal:
        read_assignments(write(document))
    assert why in refusal.value.why


def test_no_file(tmp_path):
    with pytest.raises(WrongUsage, match="no such file"):
        read_topics(tmp_path / "none.json")
