"""Kafka's own tools and servers, as Maven serves them: resolved once, and kept outside the tree.

They are found in the local Maven repository again; only a list of their paths is kept here, one file a version and pom.
"""

import hashlib
import os
import pathlib
import subprocess
from typing import Final

VERSIONS: Final = ("3.9.2", "4.4.0")
"""The last of the 3.9 line, and the newest that is served; both run on Java 17."""

CACHE: Final = "QUORATE_TESTS_CACHE"
"""The environment variable that names another place than ~/.cache/quorate-tests."""

_POM: Final = pathlib.Path(__file__).with_name("pom.xml")
_TRIES: Final = 3
"""A registry has its bad moments; what was fetched before one is kept."""
_WITHIN_S: Final = 600.0
"""The first time everything is fetched; that is a hundred archives and 110 MB."""


def class_path(version: str, pom: pathlib.Path = _POM) -> str:
    """All archives of this version of Kafka. `pom`: what belongs to them.

    Raises:
        RuntimeError: Maven cannot resolve them.
    """
    known = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    kept = _cache() / f"kafka-{version}-{known}.classpath"
    if kept.exists():
        found = kept.read_text().strip()
        if all(pathlib.Path(path).exists() for path in found.split(os.pathsep)):
            return found
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(f".{os.getpid()}")
    command = ["mvn", "-q", "-B", "-f", str(pom), f"-Dkafka={version}"]
    command += ["dependency:build-classpath", f"-Dmdep.outputFile={unfinished}"]
    for _ in range(_TRIES):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
        if done.returncode == 0:
            break
    else:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    unfinished.rename(kept)
    return kept.read_text().strip()


def _cache() -> pathlib.Path:
    named = os.environ.get(CACHE)
    return pathlib.Path(named) if named else pathlib.Path.home() / ".cache" / "quorate-tests"
