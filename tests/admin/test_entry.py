"""Where the command ends however it ends: Ctrl-C too, and a second one."""

import pytest

from quorate.admin import app, entry, explain
from quorate.admin.errors import INTERRUPTED


def interrupt(*_: object) -> int:
    raise KeyboardInterrupt


def test_ctrl_c_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "run", interrupt)

    assert entry.main(["topics", "list"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_a_second_ctrl_c_shows_no_stack_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes while the words for the first failure are looked for."""

    def fail(*_: object) -> int:
        raise BaseExceptionGroup("both", [KeyboardInterrupt()])

    monkeypatch.setattr(app, "run", fail)
    monkeypatch.setattr(explain, "translate", interrupt)

    assert entry.main(["topics", "list"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "")
