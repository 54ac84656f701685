"""What an operator reads when a configuration is wrong: golden texts, compared exactly.

Each `golden/errors/config-*.txt` holds the role, a file and perhaps variables, and below the line everything that
is said. After a change of wording `python -m tests.metadata.test_config_errors` writes the answers anew; the
diff is what gets reviewed.
"""

import pathlib
import re
import tempfile
from collections.abc import Callable

import pytest

from quorate.admin.zookeeper_mode import load_zookeeper_node
from quorate.broker.config import BrokerConfig
from quorate.controller.config import ControllerConfig
from quorate.metadata.settings import InvalidSettings

GOLDEN = sorted((pathlib.Path(__file__).parent / "golden" / "errors").glob("config-*.txt"))
LINE = "\n----\n"
LOADERS: dict[str, Callable[[pathlib.Path, dict[str, str]], tuple[object, tuple[object, ...]]]] = {
    "controller": ControllerConfig.load,
    "broker": BrokerConfig.load,
    "zookeeper": load_zookeeper_node,
}
HEAD = re.compile(r"# (controller|broker|zookeeper): (\S+)((?: [A-Z_]+=\S*)*)\n")


def answer(script: str, directory: pathlib.Path) -> str:
    """Everything that loading says, warnings last; the directory is left out of paths."""
    head = HEAD.match(script)
    assert head is not None
    path = directory / head[2]
    path.write_bytes(script[head.end() :].encode("utf-8", "surrogateescape"))
    environ = dict(variable.split("=", 1) for variable in head[3].split())
    said: list[str]
    try:
        _, warnings = LOADERS[head[1]](path, environ)
    except InvalidSettings as error:
        said = [str(error)]
    else:
        said = ["This configuration can be used.", *(f"warning: {warning}" for warning in warnings)]
    return "\n".join(said).replace(f"{directory}/", "") + "\n"


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_what_an_operator_reads(golden: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script, _, expected = golden.read_text(errors="surrogateescape").partition(LINE)

    assert answer(script + "\n", tmp_path) == expected


def test_there_are_golden_texts() -> None:
    assert len(GOLDEN) >= 20


def rewrite() -> None:
    for golden in GOLDEN:
        script, _, _ = golden.read_text(errors="surrogateescape").partition(LINE)
        with tempfile.TemporaryDirectory() as directory:
            text = script + LINE + answer(script + "\n", pathlib.Path(directory))
            golden.write_text(text, errors="surrogateescape")


if __name__ == "__main__":
    rewrite()
