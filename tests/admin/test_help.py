"""What every command says of itself: reviewed texts, and rules that hold for all of them."""

import os

import pytest
import typer

from quorate.admin import app
from tests.admin.command import check_golden, environment


def _root_context():
    root = app.root()
    return root.make_context("quorate", [], resilient_parsing=True)


def _texts(name, command, parent):
    """(command path, help) of a command and all below it."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield context.command_path, command.get_help(context)
    for child in getattr(command, "commands", {}).values():
        yield from _texts(child.name, child, context)


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("QUORATE_BOOTSTRAP", raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=None: os.terminal_size((80, 24)))


@pytest.mark.parametrize("group", app.GROUPS, ids=lambda group: group.name)
def test_help_reads_as_reviewed(group):
    texts = list(_texts(group.name, app.load(group), _root_context()))

    assert not any("..." in text.partition("\nCommands:")[2] for _, text in texts), "a summary is cut off"
    check_golden(f"help-{group.name}", "\n\n".join(f"$ {path} --help\n{text}" for path, text in texts) + "\n")


def test_the_whole_command_reads_as_reviewed():
    context = _root_context()
    text = context.command.get_help(context)

    assert "..." not in text.partition("\nCommands:")[2], "a summary is cut off"
    check_golden("help", text + "\n")


@pytest.mark.parametrize("group", app.GROUPS, ids=lambda group: group.name)
def test_every_command_and_option_is_explained(group):
    def walk(command, path):
        assert command.help, path
        for param in command.params:
            if isinstance(param, typer.core.TyperOption):
                assert param.help, f"{path} {param.opts}"
        for child in getattr(command, "commands", {}).values():
            walk(child, f"{path} {child.name}")

    walk(app.load(group), f"quorate {group.name}")
