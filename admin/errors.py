"""How a command ends when it does not simply succeed: four kinds, four exit codes, one shape of text.

    0   done
    1   refused or failed        `Refused`
    2   wrong usage              `WrongUsage`, and whatever the parser rejects
    3   no answer in time        `NoAnswer`
    10  answered, but unhealthy  `Unhealthy`

The text says what, where, why, and what to do. Errors of the other packages are translated in `explain`; nothing
else turns an exception into words.
"""

from typing import Any, ClassVar, Final

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NO_ANSWER: Final = 3
UNHEALTHY: Final = 10
INTERRUPTED: Final = 130
"""128 and the signal's number, as shells have it."""


class CommandError(Exception):
    """What happened, where, why, and what to do about it. Parts that would say nothing new are left out."""

    exit_code: ClassVar[int] = REFUSED
    kind: ClassVar[str] = "refused"

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy
        super().__init__(self.text())

    def text(self) -> str:
        """For people, on stderr."""
        parts = (("where", self.where), ("why", self.why), ("what to do", self.remedy))
        lines = [self.what]
        lines += [f"  {title}: " + text.replace("\n", "\n    ") for title, text in parts if text]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """For programs, in the document's "error" member."""
        return {
            "kind": self.kind,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "what_to_do": self.remedy,
        }


class Refused(CommandError):
    """It was refused, or it failed."""


class Fault(CommandError):
    """Nobody foresaw this: the mistake is ours."""

    kind = "fault"


class WrongUsage(CommandError):
    """The command line contradicts itself, or says something that cannot be."""

    exit_code = USAGE
    kind = "usage"


class NoAnswer(CommandError):
    """Nobody answered in time; whether it was done is not known unless the text says so."""

    exit_code = NO_ANSWER
    kind = "no-answer"


class Interrupted(CommandError):
    """Ctrl-C where nothing had to be shut down in order. Says nothing: who pressed it knows."""

    exit_code = INTERRUPTED
    kind = "interrupted"


class Unhealthy(CommandError):
    """The answer came and was printed, and it says that something is wrong."""

    exit_code = UNHEALTHY
    kind = "unhealthy"
