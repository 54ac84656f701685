"""The options that many commands share, each defined once, with the wording of its help."""

import pathlib
from typing import Annotated, Final

import typer

from quorate.admin.output import Form

BOOTSTRAP_VARIABLE: Final = "QUORATE_BOOTSTRAP"
DEFAULT_TIMEOUT_S: Final = 10.0


def command_group(help: str) -> typer.Typer:
    """The `app` of a group's module."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=help)


def _sensible_timeout(seconds: float) -> float:
    if not 0.1 <= seconds <= 3600:
        raise typer.BadParameter("it is from 0.1 to 3600 seconds")
    return seconds


BootstrapOption = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "--bootstrap-server",
        "--bootstrap-controller",
        metavar="HOST:PORT,…",
        envvar=BOOTSTRAP_VARIABLE,
        help="Brokers or controllers to ask, whichever answers first. The others are found through it.",
    ),
]
OutputOption = Annotated[
    Form,
    typer.Option(
        "--output",
        "-o",
        metavar="table|json",
        help="For people (the default), or JSON of a documented, stable shape, alone on stdout.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        callback=_sensible_timeout,
        help="Give up after so long; the exit code is 3 then.",
    ),
]
CommandConfigOption = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--command-config",
        metavar="FILE",
        help="Client settings: a .toml or .properties file.",
    ),
]
ConfigArgument = Annotated[
    pathlib.Path,
    typer.Argument(metavar="CONFIG", help="The node's configuration: a .toml or .properties file."),
]
PathArgument = Annotated[
    pathlib.Path,
    typer.Argument(metavar="PATH", help="A node's metadata.log.dir, or one .log or .checkpoint file in it."),
]
DirectoryOption = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--directory",
        "-d",
        metavar="DIRECTORY",
        help="Read a node's metadata.log.dir (or one file in it) instead of asking a cluster.",
    ),
]
