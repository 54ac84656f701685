"""Where Apache Kafka's own classes are: an unpacked distribution, or what Maven serves.

Maven is asked with the user's own settings, as any other build is: mirrors, proxies and the local repository are as
configured there, and no address stands here. What it found is kept as a list of paths, a file for each version.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
from typing import Final

from quorate.admin.errors import NoAnswer, Refused

DEFAULT_VERSION: Final = "4.3.1"
"""The newest release that every feature of the quorum was tried with."""

_POM: Final = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Apache Kafka's broker, as Maven serves it, for `quorate kafka up`; -Dkafka=VERSION. -->
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>quorate</groupId>
  <artifactId>kafka-broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>${kafka}</version>
      <exclusions>
        <exclusion>
          <groupId>org.slf4j</groupId>
          <artifactId>slf4j-reload4j</artifactId>
        </exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
    <dependency>
      <groupId>ch.qos.reload4j</groupId>
      <artifactId>reload4j</artifactId>
      <version>1.2.26</version>
    </dependency>
  </dependencies>
</project>
"""
_MAVEN_WITHIN_S: Final = 900.0
"""The first time everything is fetched, some 110 MB."""
_CACHE: Final = "quorate/kafka"


def java() -> str:
    """The Java that brokers are started with: of JAVA_HOME, else of the path.

    Raises:
        Refused: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        found = pathlib.Path(home) / "bin" / "java"
        if found.exists():
            return str(found)
    on_path = shutil.which("java")
    if on_path is None:
        raise Refused(
            "Apache Kafka's brokers need Java, and there is none here.",
            why="neither JAVA_HOME nor the path leads to a program called java",
            remedy="install a JRE of version 17 or newer (on Debian: default-jre-headless), or use Quorate's own\n"
            "lightweight brokers: `quorate dev`",
        )
    return on_path


def from_home(home: pathlib.Path) -> str:
    """The class path of an unpacked distribution.

    Raises:
        Refused: it is none.
    """
    libraries = home / "libs"
    if not any(libraries.glob("kafka_2.*.jar")):
        raise Refused(
            "That is no distribution of Apache Kafka.",
            where=str(home),
            why=f"there is no kafka_2.*.jar in {libraries}",
            remedy="name the directory that holds bin, config and libs",
        )
    return str(libraries / "*")


def from_maven(version: str) -> str:
    """The class path of a release, which Maven fetches unless it has it.

    Raises:
        Refused: there is no Maven, or it does not find that release. NoAnswer: it takes too long.
    """
    kept = _cache() / f"kafka-{version}-{hashlib.sha256(_POM.encode()).hexdigest()[:12]}.classpath"
    if kept.exists():
        found = kept.read_text().strip()
        if all(pathlib.Path(path).exists() for path in found.split(os.pathsep)):
            return found
    if shutil.which("mvn") is None:
        raise Refused(
            "Apache Kafka is fetched with Maven, and there is no mvn here.",
            remedy="install Maven (on Debian: maven), or unpack a distribution of Apache Kafka and name it with\n"
            "--kafka-home DIR",
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    pom = kept.with_suffix(".pom.xml")
    pom.write_text(_POM)
    unfinished = kept.with_suffix(f".{os.getpid()}")
    command = ["mvn", "-q", "-B", "-f", str(pom), f"-Dkafka={version}"]
    command += ["dependency:build-classpath", f"-Dmdep.outputFile={unfinished}"]
    _run_maven(command, version)
    unfinished.rename(kept)
    return kept.read_text().strip()


def _run_maven(command: list[str], version: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_WITHIN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(
            "Maven did not fetch Apache Kafka in time.",
            why=f"it was given {_MAVEN_WITHIN_S:g} s",
            remedy="try again: it goes on where it was",
        ) from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Refused(
            f"Maven does not find Apache Kafka {version}.",
            why="it said:\n" + "\n".join(said[:8]),
            remedy="give a release with --version, such as 4.3.1 or 3.9.2, and look at Maven's settings (~/.m2)",
        )


def _cache() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / _CACHE
