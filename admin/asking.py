"""How a command is run: its common options, its event loop, and its error as a document.

    @app.command("list")
    @asks_cluster
    async def list_topics(session: Session, exclude_internal: ... = False) -> None:

To the parser this command has its own options and the common ones; the function gets a `Session` made of the
latter. `looks_offline` does the same for commands that ask nobody: only --output is added. `make_command` is what
both are made of. If a command fails before it has printed and --output is json, the document on stdout is the error.
"""

import contextlib
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec

import attrs
import trio
import typer

from quorate.admin import options
from quorate.admin.client_settings import load_client_settings
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.explain import translate
from quorate.admin.output import Form, Printer, Table
from quorate.admin.talk import Manner
from quorate.metadata.addresses import Address, parse_servers
from quorate.metadata.client import ClientSecurity, ClusterClient, open_client

P = ParamSpec("P")

_OUTPUT: Final = ("output", options.OutputOption, Form.TABLE)
CLUSTER_OPTIONS: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("bootstrap", options.BootstrapOption, None),
    _OUTPUT,
    ("timeout", options.TimeoutOption, options.DEFAULT_TIMEOUT_S),
    ("command_config", options.CommandConfigOption, None),
)


@attrs.frozen(kw_only=True)
class Session:
    """Whom to ask, how long, and how to answer."""

    servers: tuple[Address, ...]
    timeout_ms: int
    client_id: str
    security: ClientSecurity
    client: ClusterClient
    printer: Printer

    @property
    def manner(self) -> Manner:
        """How single nodes are asked."""
        return Manner(timeout_ms=self.timeout_ms, client_id=self.client_id, security=self.security)

    async def read(self, request: Any) -> Any:
        """Any node's answer."""
        return await self.client.call_any(request, self.timeout_ms)

    async def write(self, request: Any) -> Any:
        """The active controller's answer, directly or through a broker."""
        return await self.client.call_controller(request, self.timeout_ms)


def asks_cluster(
    function: Callable[Concatenate[Session, P], Awaitable[None]],
) -> Callable[..., None]:
    """Makes a command of an async function that asks a cluster."""

    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        async def main() -> None:
            async with open_session(printer, common) as session:
                await function(session, **own)  # type: ignore[call-arg]  # the parser brings what P asks for

        trio.run(main)

    return make_command(function, CLUSTER_OPTIONS, run)


@contextlib.asynccontextmanager
async def open_session(printer: Printer, common: dict[str, Any]) -> AsyncIterator[Session]:
    """A session from the values of `CLUSTER_OPTIONS`.

    Raises:
        WrongUsage: no cluster is named, or not in a way that can be understood.
    """
    settings = load_client_settings(common["command_config"])
    servers = _servers(common["bootstrap"], settings.servers)
    security = settings.login()
    async with open_client(servers, client_id=settings.client_id, security=security) as client:
        yield Session(
            servers=servers,
            timeout_ms=_timeout_ms(common["timeout"], settings.timeout_ms),
            client_id=settings.client_id,
            security=security,
            client=client,
            printer=printer,
        )


def looks_offline(function: Callable[Concatenate[Printer, P], None]) -> Callable[..., None]:
    """Makes a command of a function that asks nobody."""

    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        function(printer, **own)  # type: ignore[call-arg]  # as in asks_cluster

    return make_command(function, (_OUTPUT,), run)


def confirm(report: Sequence[str | Table], question: str) -> None:
    """Shows what is about to happen, and asks; both on stderr, since stdout is the answer's.

    Raises:
        WrongUsage: nobody is there to be asked. Refused: the answer was no.
    """
    if not sys.stdin.isatty():
        raise WrongUsage(
            "Nobody can be asked whether that is wanted.",
            why="standard input is no terminal, and --yes is not given",
            remedy="look at what --dry-run says, then add --yes",
        )
    for part in report:
        sys.stderr.write("\n".join(part.lines() if isinstance(part, Table) else (part,)) + "\n")
    if not typer.confirm(question, err=True):
        raise Refused("Nothing was done.", why="the answer was no")


def make_command(
    function: Callable[..., Any],
    common: tuple[tuple[str, Any, Any], ...],
    run: Callable[[Printer, dict[str, Any], dict[str, Any]], None],
) -> Callable[..., None]:
    """A function whose signature is what the parser shall see: the own options, then the common ones."""
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in common
    ]

    def command(**values: Any) -> None:
        given = {name: values.pop(name) for name, _, _ in common}
        printer = Printer(given["output"])
        try:
            run(printer, given, values)
        except BaseException as error:
            if printer.form is Form.JSON and not printer.printed:
                printer.show({"error": translate(error).document()})
            raise

    parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *added]
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__module__ = function.__module__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _servers(text: str | None, configured: tuple[Address, ...] | None) -> tuple[Address, ...]:
    """The command line comes first, the file second."""
    if text is None:
        if configured is None:
            raise WrongUsage(
                "No cluster is named.",
                why=f"neither --bootstrap nor {options.BOOTSTRAP_VARIABLE} is given",
                remedy="add --bootstrap HOST:PORT of a broker or controller; for a cluster to try, run `quorate dev`",
            )
        return configured
    try:
        return parse_servers(part.strip() for part in text.split(","))
    except ValueError as error:
        raise WrongUsage(
            "--bootstrap cannot be used.",
            why=str(error),
            remedy="write HOST:PORT, several with commas between",
        ) from error


def _timeout_ms(seconds: float, configured_ms: int | None) -> int:
    if configured_ms is not None and seconds == options.DEFAULT_TIMEOUT_S:
        return configured_ms
    return int(seconds * 1000)
