"""The command tree. A group's module is imported when one of its commands is called, never to list the names.

Each group costs its imports (kio, trio, the log): all of them together would be half a second before any answer.
So the tree is a table of names and sentences, and `_Root` loads the module of the name that was really given.
"""

import importlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

import attrs
import typer
import typer.core
import typer.main


@attrs.frozen
class Group:
    """A word after `quorate`: where its `app` lives, and what is said of it in the list."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        return f"quorate.admin.{self.name}"


GROUPS: Final = (
    Group("demo", "A cluster in a moment; its leader is killed, nothing is lost."),
    Group("dev", "Run a cluster on loopback for development until stopped."),
    Group("storage", "Give a node's directory its identity; recover and restore it."),
    Group("controller", "Run a controller."),
    Group("broker", "Run a broker."),
    Group("kafka", "Run Apache Kafka's own brokers on this quorum."),
    Group("quorum", "Who leads, who follows, how far behind; who votes."),
    Group("topics", "List, create, describe, alter and delete topics."),
    Group("brokers", "List, describe and unregister brokers."),
    Group("partitions", "Move partitions to other brokers, elect leaders."),
    Group("configs", "Describe and alter dynamic configs."),
    Group("acls", "Who may do what: list, add and remove ACLs."),
    Group("quotas", "What clients may use: describe and alter quotas."),
    Group("users", "Who may log in by SCRAM: users and their passwords."),
    Group("tokens", "Delegation tokens: create, renew, expire and describe them."),
    Group("features", "Feature levels: what is finalized and supported, up and down."),
    Group("log", "Dump, follow, verify, compare and export the log's records."),
    Group("snapshot", "Back a running cluster's metadata up, and check backups."),
    Group("image", "Browse the metadata as a tree."),
    Group("migrate", "Move a cluster off ZooKeeper, prove it, and go back."),
    Group("zookeeper", "Run a ZooKeeper server; look into, dump and load any."),
)
_BY_NAME: Final = {group.name: group for group in GROUPS}


class _Root(typer.core.TyperGroup):
    """Lists placeholders; the command that is called replaces its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _BY_NAME:
            command = load(_BY_NAME[name])
        return name, command, rest


def load(group: Group) -> Any:
    """Imports a group's module and makes the parser's command of it."""
    command = typer.main.get_command(importlib.import_module(group.module).app)
    command.name = group.name
    return command


def root() -> Any:
    """The parser of the whole command line."""
    app = typer.Typer(
        cls=_Root,
        name="quorate",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: it can be searched, and looks the same in a pipe
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_quorate)
    for group in GROUPS:
        app.add_typer(typer.Typer(), name=group.name, help=group.summary)
    return typer.main.get_command(app)


def _quorate(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show stack traces; may stand anywhere in the command line.")
    ] = False,
) -> None:
    """A Kafka-KRaft-style metadata quorum: controllers, brokers, and the tools to look after them.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no answer in time, 10 answered but unhealthy.
    """


def run(words: Sequence[str]) -> int:
    """Parses and carries out one command line; every error leaves as an exception."""
    code = root().main(args=list(words), prog_name="quorate", standalone_mode=False)
    return code if isinstance(code, int) else 0
