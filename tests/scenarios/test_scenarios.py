"""Every transcript says what it said when it was reviewed."""

import pathlib

import pytest

from tests.scenarios.runner import play, scenarios, split


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: path.stem)
def test_the_transcript_is_as_reviewed(path: pathlib.Path) -> None:
    script, expected = split(path.read_text())

    assert play(script) == expected, (
        "if the change is meant: python -m tests.scenarios.runner --rewrite, and review"
    )


def test_every_scenario_says_why_it_exists() -> None:
    assert all(path.read_text().startswith("# ") for path in scenarios())
    assert len(scenarios()) >= 50
