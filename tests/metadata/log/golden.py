"""Texts of refusals, compared exactly with `tests/metadata/golden/errors/log-*.txt`; the directory reads DIR there.

After a change of wording `python -m tests.metadata.log.golden` runs every case and writes its text anew; the diff is
what gets reviewed. A case is a function that makes a directory as it was found and says what opening it says.
"""

import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "errors"

Case = Callable[[pathlib.Path], str]


def told(case: Case, directory: pathlib.Path) -> str:
    text = case(directory).replace(str(directory), "DIR")
    return re.sub(r"held by process \d+", "held by process PID", text) + "\n"


def expected(name: str) -> str:
    return (GOLDEN / f"log-{name}.txt").read_text()


def rewrite(cases: Mapping[str, Case]) -> None:
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as directory:
            (GOLDEN / f"log-{name}.txt").write_text(told(case, pathlib.Path(directory)))


if __name__ == "__main__":
    from tests.metadata.log import test_directory, test_recovery

    rewrite(test_recovery.REFUSALS)
    rewrite(test_directory.REFUSALS)
