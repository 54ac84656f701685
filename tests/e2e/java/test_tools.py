"""Kafka's own command line tools, of two versions, against a cluster of real processes: they print what they print
against Kafka's own servers (golden/, recorded by record.py), but for what differences.py names."""

import difflib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs
import pytest

from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.ports import HeldPorts
from tests.e2e.conftest import WITHIN_S, full, needs
from tests.e2e.java.artifacts import VERSIONS
from tests.e2e.java.chapters import CHAPTERS, Chapter, Where
from tests.e2e.java.differences import expected
from tests.e2e.java.jvm import Jvm
from tests.e2e.java.shape import wording_off
from tests.e2e.java.walk import Place, arguments, golden_path, tell
from tests.secured import ADMIN, Secured, secured

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


@contextmanager
def _started(directory: pathlib.Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """`quorate dev`, on what was laid out for it."""
    with HeldPorts() as ports:
        lay_out(directory / "c", ports, random.Random(), wanted)
    command = [
        sys.executable,
        "-m",
        "quorate.admin",
        "dev",
        "--dir",
        str(directory / "c"),
        "--output",
        "json",
    ]
    with (directory / "stderr").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (directory / "stderr").read_text()
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=WITHIN_S)
            finally:
                process.kill()


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

WAITING: Final[Mapping[str, str]] = {
    "acls": "ACLs",
    "client-metrics": "ListConfigResources",
    "groups": "ListConfigResources and ListGroups",
    "reassignments": "reassignments",
    "controllers-alone": "reassignments",
    "features": "UpdateFeatures",
    "tokens": "delegation tokens",
}
"""Chapters, and the operations of ours that they wait for."""


def _cells() -> tuple[tuple[str, str], ...]:
    return (
        tuple((version, mode) for version in VERSIONS for mode in ("plaintext", "sasl_ssl"))
        if full()
        else CELLS
    )


@pytest.fixture(scope="module", params=_cells(), ids="-".join)
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """A version's tools in a JVM, and a cluster for them. Where the listeners ask, the tools come in by SCRAM."""
    for program in ("java", "mvn"):
        needs(program)
    version, mode = request.param
    directory = tmp_path_factory.mktemp("java")
    security = secured(mode, directory / "security")
    with (
        _started(directory, Wanted(brokers=3, **security.wanted)) as found,
        Jvm(version) as jvm,
    ):
        place = _place(found, None)
        if security.client_settings:
            plain = _properties(directory / "plain.properties", security.client_settings)
            place = attrs.evolve(place, command_config=plain)
            place = _by_scram(jvm, version, place, directory, security)
        yield Cell(version=version, jvm=jvm, place=place, directory=directory)


@pytest.mark.parametrize(
    ("chapter", "where"),
    [(chapter, where) for chapter in CHAPTERS for where in chapter.where if chapter.name not in WAITING],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_kafkas_tools_print_what_they_print_of_kafka(cell: Cell, chapter: Chapter, where: Where) -> None:
    golden = wording_off(expected(chapter.name, golden_path(cell.version, where, chapter).read_text()))

    said = wording_off(tell(cell.jvm, cell.version, chapter, where, cell.place, cell.directory))

    if os.environ.get("QUORATE_TESTS_KEEP"):
        (
            pathlib.Path(os.environ["QUORATE_TESTS_KEEP"]) / f"{cell.version}-{where}-{chapter.name}"
        ).write_text(said)
    differing = difflib.unified_diff(golden.splitlines(), said.splitlines(), "Kafka", "Quorate", lineterm="")
    assert said == golden, "\n".join(differing)
