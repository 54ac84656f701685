"""What the README tells people to type is what the gate runs, and exists."""

import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import Final

import pytest

from quorate.admin.entry import main

ROOT: Final = pathlib.Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text()
GATE: Final = (ROOT / ".ci" / "run").read_text()
_NEW_ENVIRONMENT: Final = "python3 -m venv"


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def _indented(text: str) -> list[str]:
    """The lines of its code blocks, continued ones joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if line.startswith("    ")]


def _steps(line: str) -> list[list[str]]:
    """The commands that a line joins with &&, without the environment's directory: any will do."""
    steps = [shlex.split(step) for step in line.split("&&")]
    for step in steps:
        step[0] = step[0].rpartition("/")[2]
    return [step for step in steps if step[:3] != _NEW_ENVIRONMENT.split()]


def _gate_steps() -> list[list[str]]:
    """The commands of the gate, in order, environment variables and directories left out."""
    found = []
    for line in GATE.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=\S*", words[0]):
            del words[0]
        if words:
            found.append([words[0].rpartition("/")[2], *words[1:]])
    return found


def test_there_are_two_command_lines_and_each_begins_with_an_environment_of_its_own() -> None:
    lines = _indented(_section("Two commands"))

    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"{_NEW_ENVIRONMENT} .venv && .venv/bin/")


@pytest.mark.parametrize("number", [0, 1])
def test_the_gate_runs_the_readmes_command_lines(number: int) -> None:
    wanted = _steps(_indented(_section("Two commands"))[number])
    run = _gate_steps()

    assert len(wanted) == 2
    if number == 0:
        assert all(step in run for step in wanted), wanted
        at = run.index(wanted[1])
        assert run[at - 1] == wanted[0]
    else:
        install, tests = wanted
        assert tests in run
        (installed,) = [step for step in run if step[:4] == install[:4] and "-e" in step]
        assert installed[-1] in (install[-1], install[-1].replace("[test]", "[test,lint]"))


def _quorate_commands() -> Iterator[list[str]]:
    """Every `quorate …` of the code blocks, at a prompt or not, and in the prose."""
    code = [
        command
        for line in _indented(README)
        for command in re.findall(r"(?:^|\$ |; |\$\(|\.venv/bin/)(quorate [^;|)]*)", line)
    ]
    prose = re.findall(r"`(quorate [^`]*)`", README)
    for command in (*code, *prose):
        yield shlex.split(command.split("$(")[0])[1:]


def _leaf(words: list[str]) -> tuple[str, ...]:
    """The group and the command: what comes before the first option or argument."""
    named = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
    return tuple(named)


COMMANDS: Final = sorted({_leaf(words) for words in _quorate_commands()})


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 10
    assert ("demo",) in COMMANDS


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_that_is_shown_exists(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    assert f"quorate {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [words for words in _quorate_commands() if "--" in " ".join(words)], ids=" ".join
)
def test_an_option_that_is_shown_exists(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_leaf(words), "--help"]) == 0
    said = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", said), option
