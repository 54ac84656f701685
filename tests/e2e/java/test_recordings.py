"""The recordings are of the steps that are told, and whatever we say is different is in one of them."""

import re

import pytest

from tests.e2e.java.artifacts import VERSIONS
from tests.e2e.java.chapters import CHAPTERS, Chapter, Where
from tests.e2e.java.differences import DIFFERENCES, Difference
from tests.e2e.java.shape import chance_off, complaint, shape, wording_off
from tests.e2e.java.walk import golden_path, steps

RECORDED = [
    (version, chapter, where) for version in VERSIONS for chapter in CHAPTERS for where in chapter.where
]


@pytest.mark.parametrize(("version", "chapter", "where"), RECORDED)
def test_a_recording_has_all_steps_of_its_chapter(version: str, chapter: Chapter, where: Where) -> None:
    recorded = golden_path(version, where, chapter).read_text()

    assert re.findall(r"^\$ (.*)$", recorded, re.MULTILINE) == [
        one.command for one in steps(chapter, version)
    ]


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_every_difference_is_in_a_recording(difference: Difference) -> None:
    texts = [
        golden_path(version, where, chapter).read_text()
        for version, chapter, where in RECORDED
        if version in difference.versions and chapter.name in difference.chapters
    ]

    assert any(re.search(f"(?m)^(?:{difference.kafka})\n", text) for text in texts)


def test_the_shape_is_without_what_no_two_clusters_share() -> None:
    table = "ID   HOST       PORT\n1    127.0.0.1  9093  \n"
    quorum = "2     \tq0czCFE33vLll6_PExUJ1g\t126  \t0  \t1795724663062 \t1795724663062 \tLeader\t\n"
    words = "errors.VoterNotFoundException --bootstrap-controller\nat 127.0.0.1:9092\n\tat a.b.C(D.java:1)\n"

    assert shape(f"{table}\n{quorum}{words}", {"127.0.0.1:9093": "controller-1"}) == (
        "ID HOST PORT\n1 <controller-1>\n"
        "<id>\t<uuid>\t<n>\t<n>\t<ms>\t<ms>\tLeader\t\n"
        "errors.VoterNotFoundException --bootstrap-controller\nat <unknown>\n"
    )


def test_the_wording_of_an_error_is_ours_and_its_class_is_not() -> None:
    said = complaint("ERROR X - org.apache.kafka.common.errors.TopicExistsException: Topic 'a' is there.\n\n")

    assert wording_off(said) == "X - org.apache.kafka.common.errors.TopicExistsException...\n"


def test_a_plan_that_a_tool_draws_is_compared_without_its_order_and_no_other() -> None:
    said = (
        '$ kafka-reassign-partitions --execute x\n"replicas":[3,1]\n\n'
        '$ kafka-reassign-partitions --generate y\nProposed\n"replicas":[3,1],"replicas":[2]\n\n'
        '$ kafka-reassign-partitions --list\n"replicas":[3,1]\n'
    )

    assert chance_off(said) == said.replace('Proposed\n"replicas":[3,1]', 'Proposed\n"replicas":[1,3]')
