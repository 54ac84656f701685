"""Kafka's tree for commands that only look at it: out of a dump, or read from a living ensemble (shell).

--dump FILE | --zookeeper HOST:PORT,…/CHROOT      and --zookeeper-config FILE for logins and secrets

@reads_tree
def plan(given: GivenTree, ...) -> None:
"""

import gzip
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import attrs
import trio
import typer

from quorate.admin.asking import make_command
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.options import OutputOption, TimeoutOption
from quorate.admin.output import Form, Printer, plural
from quorate.admin.zookeeper import ZooKeeperOption, check_hosts
from quorate.admin.zookeeper_settings import load_zookeeper_settings
from quorate.metadata import config_providers
from quorate.metadata.settings import read
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.dump import load_lines
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.live_tree import read_tree, rereading
from quorate.metadata.zookeeper.znodes import Tree

P = ParamSpec("P")

DumpOption = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--dump", metavar="FILE", help="A dump of `quorate zookeeper dump`; plain, or compressed (.gz)."
    ),
]
ZooKeeperConfigOption = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--zookeeper-config",
        metavar="FILE",
        help="Kafka's zookeeper.* keys and password.encoder.secret; a broker's own file will do.",
    ),
]
TREE_OPTIONS: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("dump", DumpOption, None),
    ("zookeeper", ZooKeeperOption, None),
    ("zookeeper_config", ZooKeeperConfigOption, None),
)
_ALONE: Final[tuple[tuple[str, Any, Any], ...]] = (
    *TREE_OPTIONS,
    ("output", OutputOption, Form.TABLE),
    ("timeout", TimeoutOption, 10.0),
)
_SECRETS: Final = ("password.encoder.secret", "password.encoder.old.secret")


@attrs.frozen(kw_only=True)
class GivenTree:
    """A tree, how it was come by, and how to answer."""

    printer: Printer

    tree: Tree
    source: str
    seconds: float | None
    """How long reading it once took; None: it came from a file."""
    secrets: tuple[str, ...] = attrs.field(repr=False)
    unquiet: tuple[str, ...]
    """Znodes that were written while it was read."""


def reads_tree(function: Callable[Concatenate[GivenTree, P], None]) -> Callable[..., None]:
    """Makes a command of a function that looks at a tree, and asks nobody else."""

    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        given = trio.run(read_given_tree, printer, common)
        function(given, **own)  # type: ignore[call-arg]  # as in asking

    return make_command(function, _ALONE, run)


async def read_given_tree(printer: Printer, common: Mapping[str, Any]) -> GivenTree:
    """What the options name; a dump counts, since QUORATE_ZOOKEEPER may stand in the environment of every shell.

    Raises:
        WrongUsage: nothing is named.
        Refused: what is there is no tree.
        InvalidSettings: the file of settings is wrong.
    """
    dump, zookeeper, zookeeper_config = common["dump"], common["zookeeper"], common["zookeeper_config"]
    secrets = _secrets(zookeeper_config)
    if dump is not None:
        tree: Tree = read_dump(dump)
        return GivenTree(
            printer=printer, tree=tree, source=str(dump), seconds=None, secrets=secrets, unquiet=()
        )
    if not zookeeper:
        raise WrongUsage(
            "No tree is named.",
            remedy="add --zookeeper HOST:PORT, or --dump FILE of an earlier `quorate zookeeper dump`",
        )
    check_hosts(zookeeper)
    settings = load_zookeeper_settings(zookeeper, zookeeper_config)
    settings = attrs.evolve(settings, connect_timeout_ms=int(common["timeout"] * 1000))
    async with connected(settings) as session:
        with printer.progress("Reading ZooKeeper") as told:
            so_far: dict[Category, int] = {}

            def progress(category: Category, done: int, total: int) -> None:
                so_far[category] = done
                told(sum(so_far.values()))

            started = time.perf_counter()
            live = await read_tree(session, progress=progress)
            seconds = time.perf_counter() - started
        with printer.progress("Reading it once more"):
            unquiet = tuple(one.path for one in await rereading(session, live))
    return GivenTree(
        printer=printer, tree=live, source=zookeeper, seconds=seconds, secrets=secrets, unquiet=unquiet
    )


def read_dump(path: pathlib.Path) -> Tree:
    """
    Raises:
        Refused: it is no dump, with the line that is wrong.
    """
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Refused("This is no dump.", where=str(path), why=str(error)) from None
    return load_lines(text.split("\n"))


def unquiet_words(found: GivenTree) -> list[str]:
    """What to tell of a tree that did not hold still."""
    if not found.unquiet:
        return []
    changed = plural(len(found.unquiet), "znode")
    return [f"{changed} changed while it was read, first {found.unquiet[0]}: this may be of no one moment."]


def _secrets(path: pathlib.Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    raw = config_providers.resolved(read(path), os.environ)
    return tuple(raw.texts[key].value.strip() for key in _SECRETS if key in raw.texts)
