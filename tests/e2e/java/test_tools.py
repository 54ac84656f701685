"""Kafka's own command line tools, of two versions, against a cluster of real processes: they print what they print
against Kafka's own servers (golden/, recorded by record.py), but for what differences.py names."""

import difflib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import pytest

from quorate.admin.cluster_files import Wanted
from tests.e2e.conftest import full, needs, started
from tests.e2e.java.artifacts import VERSIONS
from tests.e2e.java.chapters import (
    API_VERSIONS,
    CHAPTERS,
    ELECTIONS,
    EVERY_CONFIG,
    TOPICS,
    USERS,
    Chapter,
    Where,
)
from tests.e2e.java.differences import (
    ABOUT_MESSAGES,
    APIS_TO_COME,
    ELSEWHERE,
    MORE_TRUTHFUL,
    OURS,
    expected,
)
from tests.e2e.java.jvm import Jvm
from tests.e2e.java.shape import chance_off, wording_off
from tests.e2e.java.walk import Place, arguments, golden_path, tell
from tests.secured import ADMIN, MODES, Secured, secured

pytestmark = pytest.mark.e2e

_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
SCRAM_PASSWORD: Final = "in-the-log"


@attrs.frozen(kw_only=True)
class Cell:
    """Where chapters are told."""

    version: str
    jvm: Jvm
    place: Place
    directory: pathlib.Path


def _place(found: Mapping[str, Any], command_config: pathlib.Path | None) -> Place:
    names = {
        one["address"]: f"{role}-{one['id']}"
        for role in ("controller", "broker")
        for one in found[f"{role}s"]
    }
    return Place(
        brokers=found["bootstrap"],
        controllers=found["bootstrap_controllers"],
        addresses=names,
        command_config=command_config,
    )


def _wanted(security: Secured) -> Wanted:
    """ACLs are on in any case; where nobody is asked who he is, nobody in particular may do everything."""
    if security.mode != "plaintext":
        return security.wanted(brokers=3)
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    return security.wanted(brokers=3, controller_settings=settings, broker_settings=settings)


def _properties(path: pathlib.Path, settings: Mapping[str, str]) -> pathlib.Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return path


def _by_scram(jvm: Jvm, version: str, place: Place, directory: pathlib.Path, security: Secured) -> Place:
    """The administrator gives himself a password in the log, and uses that from now on."""
    command = f"kafka-configs --alter --user {ADMIN} --add-config SCRAM-SHA-512=[password={SCRAM_PASSWORD}]"
    ran = jvm.run(*arguments(command, version, "brokers", place))
    assert (ran.exit, ran.err) == (0, ""), ran
    login = f'{_SCRAM} required username="{ADMIN}" password="{SCRAM_PASSWORD}";'
    settings = {**security.client_settings, "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": login}
    return attrs.evolve(place, command_config=_properties(directory / "scram.properties", settings))


CELLS: Final = (("4.4.0", "sasl_ssl"), ("3.9.2", "plaintext"))
"""Versions of the tools, and what listeners ask; one cell an axis, but for the full matrix."""

COMPARED: Final = tuple(one for one in CHAPTERS if one not in (EVERY_CONFIG, API_VERSIONS))


def _said(cell: Cell, chapter: Chapter, where: Where) -> str:
    return tell(cell.jvm, cell.version, chapter, where, cell.place, cell.directory)


def _configs(text: str, command: str) -> dict[str, str]:
    """The lines of a `--describe --all`, by key."""
    told = next(part for part in text.split("\n\n") if part.startswith(command))
    return {line.strip().partition("=")[0]: line for line in told.splitlines() if line.startswith("  ")}


def _offered(text: str) -> dict[str, str]:
    """The versions of every API that a broker offers."""
    lines = re.findall(r"^\t(\w+)\(\d+\): (.*?),?$", text, re.MULTILINE)
    return {api: versions for api, versions in lines if versions != "UNSUPPORTED"}


def _cells() -> tuple[tuple[str, str], ...]:
    return tuple((version, mode) for version in VERSIONS for mode in MODES) if full() else CELLS


@pytest.fixture(scope="module")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """A version's tools in a JVM, and a cluster for them. Where the listeners ask for a login, the tools come in by
    SCRAM; where they ask for a certificate, by that.
    """
    for program in ("java", "mvn"):
        needs(program)
    version, mode = request.param
    directory = tmp_path_factory.mktemp("java")
    security = secured(mode, directory / "security")
    with (
        started(directory, _wanted(security)) as found,
        Jvm(version) as jvm,
    ):
        place = _place(found, None)
        if security.client_settings:
            plain = _properties(directory / "plain.properties", security.client_settings)
            place = attrs.evolve(place, command_config=plain)
        if mode == "sasl_ssl":
            place = _by_scram(jvm, version, place, directory, security)
        yield Cell(version=version, jvm=jvm, place=place, directory=directory)


@pytest.mark.parametrize("cell", _cells(), indirect=True, ids="-".join)
@pytest.mark.parametrize(
    ("chapter", "where"),
    [(chapter, where) for chapter in COMPARED for where in chapter.where],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_kafkas_tools_print_what_they_print_of_kafka(cell: Cell, chapter: Chapter, where: Where) -> None:
    _check(cell, chapter, where)


def test_what_is_not_compared_is_a_chapter_of_some_cell() -> None:
    assert {chapter for chapter, _ in ELSEWHERE} <= {one.name for one in COMPARED}
    assert {cell for _, cell in ELSEWHERE} <= {*VERSIONS, *MODES}


@pytest.mark.parametrize("cell", CELLS[:1], indirect=True, ids="-".join)
@pytest.mark.parametrize("chapter", [TOPICS, USERS, ELECTIONS], ids=lambda chapter: chapter.name)
def test_controllers_answer_those_who_take_them_for_brokers(cell: Cell, chapter: Chapter) -> None:
    """Where Kafka's would refuse: `--bootstrap-server` with the addresses of controllers."""
    at_controllers = attrs.evolve(cell.place, brokers=cell.place.controllers, controllers="none")

    _check(attrs.evolve(cell, place=at_controllers), chapter, "brokers")


def _check(cell: Cell, chapter: Chapter, where: Where) -> None:
    recorded = golden_path(cell.version, where, chapter).read_text()
    kafka = wording_off(chance_off(expected(chapter.name, cell.version, recorded)))

    ours = wording_off(chance_off(_said(cell, chapter, where)))

    differing = difflib.unified_diff(kafka.splitlines(), ours.splitlines(), "Kafka", "Quorate", lineterm="")
    assert ours == kafka, "\n".join(differing)


@pytest.mark.parametrize("cell", CELLS[:1], indirect=True, ids="-".join)
def test_every_config_of_a_topic_and_a_broker_is_shown_as_kafka_shows_it(cell: Cell) -> None:
    """But for what is set in the files of these nodes."""
    recorded = golden_path(cell.version, "brokers", EVERY_CONFIG).read_text()
    said = _said(cell, EVERY_CONFIG, "brokers")
    for what in ("--topic plain", "--broker 101"):
        kafka, ours = (
            _configs(text, f"$ kafka-configs --describe {what} --all") for text in (recorded, said)
        )
        in_files = {key for shown in (kafka, ours) for key, line in shown.items() if "STATIC_BROKER" in line}

        differing = {key for key in kafka.keys() | ours.keys() if kafka.get(key) != ours.get(key)} - in_files

        differing = {key for key in differing if not key.startswith("quorate.")}
        assert differing - OURS == MORE_TRUTHFUL & kafka.keys()


@pytest.mark.parametrize("cell", CELLS[:1], indirect=True, ids="-".join)
def test_brokers_offer_what_kafkas_offer_and_each_in_the_same_versions(cell: Cell) -> None:
    recorded = golden_path(cell.version, "brokers", API_VERSIONS).read_text()
    kafka, ours = (_offered(text) for text in (recorded, _said(cell, API_VERSIONS, "brokers")))

    assert {api for api in ours if ours[api] != kafka.get(api)} == {"ApiVersions"}
    missing = {api for api in kafka.keys() - ours.keys() if not ABOUT_MESSAGES.search(api)}
    assert missing == APIS_TO_COME
