"""A chapter, told to a cluster: what was asked, and what Kafka's tools printed."""

import pathlib
import re
import shlex
import time
from collections.abc import Mapping
from typing import Final

import attrs

from tests.e2e.java.chapters import Chapter, Step, Where
from tests.e2e.java.jvm import Jvm, Ran
from tests.e2e.java.shape import complaint, shape

GOLDEN: Final = pathlib.Path(__file__).parent / "golden"

_KNOW_CONTROLLERS: Final = frozenset(
    {
        "kafka-acls",
        "kafka-configs",
        "kafka-cluster",
        "kafka-features",
        "kafka-metadata-quorum",
        "kafka-reassign-partitions",
    }
)
"""Those that have `--bootstrap-controller` (KIP-919)."""
_TOLD_AGAIN: Final = 100
_PLACE_LAST: Final = frozenset({"kafka-cluster"})
"""Those whose commands take the place of the cluster; before the command it is refused."""


@attrs.frozen(kw_only=True)
class Place:
    """Where a cluster is, and how its tools get in.

    brokers, controllers: for the bootstrap options. addresses: HOST:PORT of every node, with its name.
    command_config: client properties for all tools; None where none are needed.
    """

    brokers: str
    controllers: str
    addresses: Mapping[str, str]
    command_config: pathlib.Path | None = None


def golden_path(version: str, where: Where, chapter: Chapter) -> pathlib.Path:
    return GOLDEN / version / where / f"{chapter.name}.txt"


def steps(chapter: Chapter, version: str) -> list[Step]:
    """Those that the tools of this version know."""
    return [step for step in chapter.steps if _number(step.since) <= _number(version)]


def tell(
    jvm: Jvm,
    version: str,
    chapter: Chapter,
    where: Where,
    place: Place,
    directory: pathlib.Path,
    pause_s: float = 0.0,
) -> str:
    """All that was asked and said, in the shape that golden files have.

    directory: for the chapter's files. pause_s: after each step, for brokers that hear of a change some time after it
    was acknowledged.
    """
    words: dict[str, str] = {}
    for name, content in chapter.files.items():
        path = directory / f"{chapter.name}-{name}"
        path.write_text(content)
        words[name] = str(path)
    files = {path: f"{{{name}}}" for name, path in words.items()} | {str(directory): "<directory>"}
    said: list[str] = []
    for step in steps(chapter, version):
        tool, args = arguments(step.command.format_map(words), version, where, place)
        ran = jvm.run(tool, args)
        for _ in range(_TOLD_AGAIN):
            if step.until in ran.out:
                break
            ran = jvm.run(tool, args)
        _keep(step, ran, words)
        said.append(_entry(step, ran, place, files))
        time.sleep(pause_s)
    return "\n".join(said)


def arguments(command: str, version: str, where: Where, place: Place) -> tuple[str, list[str]]:
    """The tool, and what its script is given."""
    tool, *args = shlex.split(command)
    if where == "controllers" and tool in _KNOW_CONTROLLERS:
        options = ["--bootstrap-controller", place.controllers]
    else:
        options = ["--bootstrap-server", place.brokers]
    if place.command_config is not None:
        options += [_config_option(tool, version), str(place.command_config)]
    return tool, [*args, *options] if tool in _PLACE_LAST else [*options, *args]


def _config_option(tool: str, version: str) -> str:
    if _number(version) < _number("4"):
        return {"kafka-cluster": "--config", "kafka-leader-election": "--admin.config"}.get(
            tool, "--command-config"
        )
    return "--command-config"


def _keep(step: Step, ran: Ran, words: dict[str, str]) -> None:
    if step.keep is None:
        return
    name, pattern = step.keep
    found = re.search(pattern, ran.out, re.MULTILINE)
    words[name] = found[1] if found else f"<no {name}>"


def _entry(step: Step, ran: Ran, place: Place, files: Mapping[str, str]) -> str:
    out = _shown(ran.out, place, files)
    if step.sorted:
        out = "".join(sorted(out.splitlines(keepends=True)))
    err = "".join(f"! {line}\n" for line in _shown(complaint(ran.err), place, files).splitlines())
    code = f"exit {ran.exit}\n" if ran.exit else ""
    return f"$ {step.command}\n{out}{err}{code}"


def _shown(text: str, place: Place, files: Mapping[str, str]) -> str:
    shown = {
        f" --command-config {place.command_config}": "",  # some are let in without
        **files,
        place.brokers: "<brokers>",
        place.controllers: "<controllers>",
    }
    for found, instead in shown.items():
        text = text.replace(found, instead)
    return shape(text, place.addresses)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
