"""A broker's life as scripts: what happens, and below it everything that the life cycle did about it.

A transcript is a list of blocks, separated by empty lines: commands, a line `----`, the complete output.
`python -m tests.broker.test_lifecycle_transcripts --rewrite` writes the outputs anew; review the diff.

    <ms> started | registered EPOCH | beat [caught-up] [unfenced] [shut-down] | failed [CODE] | recovered
    <ms> published OFFSET nothing | ours EPOCH fenced|unfenced | theirs EPOCH fenced|unfenced
    <ms> controller | other leaves | shutdown [at-once]
    until <ms>                                     every deadline on the way
Answers belong to the newest request; `late` in front of one makes it belong to the request before.
"""

import pathlib
import random
import sys
import uuid

import pytest

from quorate.broker.lifecycle import (
    BrokerLifecycle,
    ControllerChanged,
    Effect,
    Entered,
    Event,
    HeartbeatAnswered,
    LifecycleSettings,
    Note,
    OtherLeaves,
    Published,
    RecoveryFinished,
    Registered,
    RequestFailed,
    SeenRegistration,
    SendHeartbeat,
    SendRegistration,
    ShutDown,
    ShutdownRequested,
    Started,
    TimePassed,
)
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Offset

FOLDER = pathlib.Path(__file__).parent / "transcripts"
OURS = uuid.UUID(bytes=b"this incarnation")
THEIRS = uuid.UUID(bytes=b"some other one..")


class _Steady(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


class _Player:
    def __init__(self) -> None:
        self.lifecycle = BrokerLifecycle(LifecycleSettings(), incarnation_id=OURS, rng=_Steady())
        self.attempt = 0
        self.lines: list[str] = []

    def play(self, command: str) -> None:
        head, *words = command.split()
        if head == "until":
            self._until(int(words[0]))
            return
        late = words[0] == "late"
        event = self._event(words[1:] if late else words, self.attempt - late)
        self._step(event, int(head))

    def _until(self, end_ms: int) -> None:
        while (at := self.lifecycle.next_deadline()) is not None and at <= end_ms:
            self._step(TimePassed(), at)

    def _step(self, event: Event, now_ms: int) -> None:
        for effect in self.lifecycle.step(event, now_ms):
            self.lines.append(f"{now_ms:>6}  {self._show(effect)}")

    def _show(self, effect: Effect) -> str:
        match effect:
            case SendRegistration():
                self.attempt = effect.attempt
                return "register"
            case SendHeartbeat():
                self.attempt = effect.attempt
                wants = [name for name in ("want_fence", "want_shut_down") if getattr(effect, name)]
                where = f"epoch {effect.broker_epoch} at {effect.current_metadata_offset}"
                return " ".join(["heartbeat", where, *wants])
            case Entered():
                return f"{effect.state.name}: {effect.why.value}"
            case ShutDown():
                return f"shut down {'cleanly' if effect.clean else 'uncleanly'}: {effect.reason}"
            case Note():
                return f"note: {effect.text}"

    @staticmethod
    def _event(words: list[str], attempt: int) -> Event:
        match words:
            case ["started"]:
                return Started()
            case ["registered", epoch]:
                return Registered(attempt, int(epoch))
            case ["beat", *answers]:
                return HeartbeatAnswered(
                    attempt=attempt,
                    is_caught_up="caught-up" in answers,
                    is_fenced="unfenced" not in answers,
                    should_shut_down="shut-down" in answers,
                )
            case ["failed", code]:
                return RequestFailed(attempt, "the reason", ErrorCode[code])
            case ["failed"]:
                return RequestFailed(attempt, "connection refused")
            case ["recovered"]:
                return RecoveryFinished()
            case ["published", offset, "nothing"]:
                return Published(Offset(int(offset)), None)
            case ["published", offset, "ours", epoch, fence]:
                return Published(Offset(int(offset)), SeenRegistration(OURS, int(epoch), fence == "fenced"))
            case ["published", offset, "theirs", epoch, fence]:
                return Published(Offset(int(offset)), SeenRegistration(THEIRS, int(epoch), fence == "fenced"))
            case ["controller"]:
                return ControllerChanged()
            case ["other", "leaves"]:
                return OtherLeaves()
            case ["shutdown", *how]:
                return ShutdownRequested(at_once=how == ["at-once"])
        raise ValueError(f"no such command: {words}")


def transcript(text: str) -> str:
    """The same script with the outputs as they are now."""
    player = _Player()
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        script = block.split("\n----")[0]
        player.lines = []
        for command in script.splitlines():
            if not command.startswith("#"):
                player.play(command)
        commands_only = all(line.startswith("#") for line in script.splitlines())
        blocks.append(script if commands_only else "\n".join([script, "----", *player.lines]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: pathlib.Path) -> None:
    assert transcript(path.read_text()) == path.read_text()


def test_there_are_transcripts() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 8


if __name__ == "__main__" and "--rewrite" in sys.argv:
    for file in FOLDER.glob("*.txt"):
        file.write_text(transcript(file.read_text()))
