"""Where Kafka's classes come from, and what is said when they do not; Maven's part is played by a script."""

import os
import pathlib
import stat

import pytest

from quorate.admin import kafka_distribution
from quorate.admin.errors import Refused


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty search path, and a cache of one's own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


def program(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_java_is_missed_kindly(path):
    with pytest.raises(Refused) as refusal:
        kafka_distribution.java()
    assert "need Java, and there is none here" in refusal.value.text()
    assert "install a JRE of version 17" in refusal.value.text()
    assert "quorate dev" in refusal.value.text()


def test_the_java_that_is_named_comes_first(path, tmp_path, monkeypatch):
    on_path = program(path / "java", "exit 0")
    assert kafka_distribution.java() == str(on_path)
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    named = program(tmp_path / "jdk" / "bin" / "java", "exit 0")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert kafka_distribution.java() == str(named)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert kafka_distribution.java() == str(on_path)


def test_an_unpacked_distribution(tmp_path):
    with pytest.raises(Refused, match="no distribution of Apache Kafka"):
        kafka_distribution.from_home(tmp_path)
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.3.1.jar").touch()
    assert kafka_distribution.from_home(tmp_path) == str(tmp_path / "libs" / "*")


def test_without_maven_there_is_another_way(path):
    with pytest.raises(Refused) as refusal:
        kafka_distribution.from_maven("4.3.1")
    assert "--kafka-home DIR" in refusal.value.text()


def test_maven_is_asked_once(path, tmp_path):
    jar = tmp_path / "kafka.jar"
    jar.touch()
    said = tmp_path / "asked"
    program(
        path / "mvn",
        f'echo "$*" >> {said}\nfor word; do case "$word" in -Dmdep.outputFile=*) '
        f'echo {jar} > "${{word#*=}}";; esac; done',
    )
    assert kafka_distribution.from_maven("4.3.1") == str(jar)
    assert kafka_distribution.from_maven("4.3.1") == str(jar)
    (asked,) = said.read_text().splitlines()
    assert "-Dkafka=4.3.1" in asked
    assert "http" not in asked  # where from is the business of the user's settings

    jar.unlink()  # the local repository was swept: it is asked again
    jar2 = tmp_path / "kafka.jar"
    assert kafka_distribution.from_maven("4.3.1") == str(jar2)
    assert len(said.read_text().splitlines()) == 2


def test_what_maven_says_is_told(path):
    program(path / "mvn", 'echo "[ERROR] no such release"; exit 1')
    with pytest.raises(Refused) as refusal:
        kafka_distribution.from_maven("99")
    assert "does not find Apache Kafka 99" in refusal.value.text()
    assert "no such release" in refusal.value.text()
    assert not any(name.endswith(".classpath") for name in os.listdir(kafka_distribution._cache()))
