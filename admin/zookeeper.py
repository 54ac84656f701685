"""`quorate zookeeper`: run a ZooKeeper server, and look into, dump and load any ensemble."""

import base64
import gzip
import os
import pathlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import attrs
import trio
import typer

from quorate.admin.asking import looks_offline, make_command
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.logs import LogForm, configure_process_logs
from quorate.admin.options import CommandConfigOption, OutputOption, command_group
from quorate.admin.output import Form, Printer, Table, plural
from quorate.admin.serving import StopAtEof, serve
from quorate.admin.zookeeper_settings import load_zookeeper_settings
from quorate.metadata.addresses import parse_listeners, parse_servers
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.dump import STAT_KEYS, dump_lines, load_lines
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.paths import ROOT, child_of
from quorate.metadata.zookeeper.server import running_server
from quorate.metadata.zookeeper.state import TICK_MS
from quorate.metadata.zookeeper.trees import Ephemerals, TreeChanging, load_tree, read_stable_tree
from quorate.metadata.zookeeper.znodes import Stat, Znode

app = command_group("Run a ZooKeeper server; look into, dump and load any ensemble.")

P = ParamSpec("P")
_TIMEOUT_S: Final = 10.0
_PORT: Final = 2181
"""Where an address says none."""

ZooKeeperOption = Annotated[
    str | None,
    typer.Option(
        "--zookeeper",
        metavar="HOST:PORT,…/CHROOT",
        envvar="QUORATE_ZOOKEEPER",
        help="The ensemble, as in Kafka's zookeeper.connect.",
    ),
]
ConnectTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        max=3600,
        help="Give up if nobody lets us in for so long; the exit code is 3 then.",
    ),
]
PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="The znode.")]
FileArgument = Annotated[
    pathlib.Path,
    typer.Argument(metavar="FILE", help="One JSON object a line; compressed if its name ends with .gz."),
]
_OPTIONS: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("zookeeper", ZooKeeperOption, None),
    ("output", OutputOption, Form.TABLE),
    ("timeout", ConnectTimeoutOption, _TIMEOUT_S),
    ("command_config", CommandConfigOption, None),
)


@attrs.frozen
class Session:
    """A session with the ensemble, and how to answer."""

    zookeeper: ZooKeeper
    printer: Printer


def asks_zookeeper(
    function: Callable[Concatenate[Session, P], Awaitable[None]],
) -> Callable[..., None]:
    """Makes a command of an async function that asks an ensemble."""

    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        hosts = common["zookeeper"]
        if not hosts:
            raise WrongUsage(
                "No ensemble is named.",
                remedy="add --zookeeper HOST:PORT, or set the variable QUORATE_ZOOKEEPER",
            )
        check_hosts(hosts)
        settings = load_zookeeper_settings(hosts, common["command_config"])
        settings = attrs.evolve(settings, connect_timeout_ms=int(common["timeout"] * 1000))

        async def main() -> None:
            async with connected(settings) as zookeeper:
                await function(Session(zookeeper, printer), **own)  # type: ignore[call-arg]  # as in asking

        trio.run(main)

    return make_command(function, _OPTIONS, run)


def check_hosts(hosts: str) -> None:
    """
    Raises:
        WrongUsage: they are no HOST:PORT,…/CHROOT.
    """
    servers, slash, chroot = hosts.partition("/")
    try:
        parse_servers(one if ":" in one else f"{one}:{_PORT}" for one in servers.split(","))
    except ValueError as error:
        raise WrongUsage("--zookeeper is not understood.", where=hosts, why=str(error)) from None
    if slash and (not chroot or chroot.endswith("/") or "//" in chroot):
        raise WrongUsage("--zookeeper is not understood.", where=hosts, why="a chroot is a path like /kafka")


@app.command("start")
@looks_offline
def start(
    printer: Printer,
    directory: Annotated[
        pathlib.Path,
        typer.Option(
            "--directory", "-d", metavar="DIRECTORY", help="Where its journal lies; made if missing."
        ),
    ],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Port 0: any free one.")
    ] = "127.0.0.1:2181",
    tick_ms: Annotated[
        int,
        typer.Option(
            "--tick-ms", min=10, max=60_000, help="Sessions end in these steps, after 2 to 20 of them."
        ),
    ] = TICK_MS,
    log_format: Annotated[
        LogForm, typer.Option("--log-format", help="Of its log, which goes to stderr.")
    ] = LogForm.CONSOLE,
    stop_at_eof: StopAtEof = False,
) -> None:
    """Runs a ZooKeeper server of one process.

    For development, tests, and Quorate's ZooKeeper mode.
    Every write is on disk before it is answered. Until SIGTERM or Ctrl-C. One line is printed when it listens.
    """
    try:
        (where,) = parse_listeners([f"ZOOKEEPER://{listen}"])
    except ValueError as error:
        raise WrongUsage("--listen is not understood.", where=listen, why=str(error)) from None
    configure_process_logs(log_format)

    async def run(stop: trio.Event) -> None:
        async with running_server(directory, host=where.host, port=where.port, tick_ms=tick_ms) as running:
            state = running.server.service.state
            document = {
                "address": str(running.address),
                "zxid": f"{state.last_zxid:#x}",
                "znodes": len(state.tree),
                "replayed": running.recovered.transactions,
                "notes": list(running.recovered.notes),
            }
            text = f"ZooKeeper listens on {running.address}: {plural(len(state.tree), 'znode')}, {directory}"
            printer.line(document, "\n".join([text, *running.recovered.notes]))
            await stop.wait()

    serve(run, stop_at_eof=stop_at_eof)


@app.command("dump")
@asks_zookeeper
async def dump(session: Session, file: FileArgument) -> None:
    """Writes the whole tree to a file: paths, data, stats.

    It is read until it is twice the same, since ZooKeeper cannot read a tree at one moment.
    """
    with session.printer.progress("Reading the tree") as progress:
        try:
            tree = await read_stable_tree(session.zookeeper, progress=progress)
        except TreeChanging:
            raise Refused(
                "The tree does not hold still: it was different each time it was read.",
                remedy="stop whoever writes to it, or dump a part of it by a chroot",
            ) from None
    if not tree:
        raise _no_chroot()
    _write(file, tree)
    size = sum(znode.stat.data_length for znode in tree.values())
    session.printer.show(
        {"file": str(file), "znodes": len(tree), "data_bytes": size},
        f"{plural(len(tree), 'znode')} with {plural(size, 'byte')} of data written to {file}",
    )


@app.command("load")
@asks_zookeeper
async def load(
    session: Session,
    file: FileArgument,
    ephemeral: Annotated[
        Ephemerals,
        typer.Option("--ephemeral", help="What becomes of ephemeral znodes, whose sessions are not here."),
    ] = Ephemerals.PERSISTENT,
    versions: Annotated[
        bool,
        typer.Option("--versions/--no-versions", help="Set data as often as it was set: Kafka counts on it."),
    ] = True,
) -> None:
    """Makes the tree of a dump in an empty ensemble or chroot.

    Paths, data and data versions are kept. What servers number themselves is not: zxids, times, session ids.
    """
    tree = _read(file)
    there = set(await session.zookeeper.children(ROOT)) - {"zookeeper"}
    if there:
        raise Refused(
            f"There are znodes already: {', '.join(sorted(there)[:5])}.",
            why="a dump is loaded into an empty ensemble, so that nothing is mixed up",
            remedy="start another server, or name a chroot that is empty",
        )
    with session.printer.progress("Loading", total=len(tree)) as progress:
        made = await load_tree(
            session.zookeeper, tree, ephemerals=ephemeral, versions=versions, progress=progress
        )
    session.printer.show({"file": str(file), "znodes": made}, f"{plural(made, 'znode')} made from {file}")


@app.command("ls")
@asks_zookeeper
async def ls(session: Session, path: PathArgument = ROOT) -> None:
    """Lists the children of a znode, with their stats."""
    names = sorted(await session.zookeeper.children(path))
    found = await session.zookeeper.get_many([child_of(path, name) for name in names])
    rows = [(name, znode) for name, znode in zip(names, found, strict=True) if znode is not None]
    session.printer.show(
        {"path": path, "children": [{"name": name, "stat": _stat(znode.stat)} for name, znode in rows]},
        Table(
            ("NAME", "BYTES", "VERSION", "CHILDREN", "OWNER", "MZXID"),
            [
                (
                    name,
                    None if znode.data is None else len(znode.data),
                    znode.stat.version,
                    znode.stat.num_children,
                    f"{znode.stat.ephemeral_owner:#x}" if znode.stat.ephemeral_owner else None,
                    f"{znode.stat.mzxid:#x}",
                )
                for name, znode in rows
            ],
        ),
    )


@app.command("get")
@asks_zookeeper
async def get(session: Session, path: PathArgument) -> None:
    """Prints a znode: its data, as text where it is text, and stat."""
    znode = await session.zookeeper.get(path)
    text = _text(znode.data)
    document = {
        "path": path,
        "data": text,
        "data_b64": None if znode.data is None else base64.b64encode(znode.data).decode(),
        "stat": _stat(znode.stat),
    }
    shown = (
        text if text is not None else "(null)" if znode.data is None else f"(base64) {document['data_b64']}"
    )
    lines = [f"{key:15} {_shown(key, value)}" for key, value in _stat(znode.stat).items()]
    session.printer.show(document, shown, "", *lines)


def _stat(stat: Stat) -> dict[str, int]:
    return {key: getattr(stat, name) for key, name in STAT_KEYS.items()}


def _shown(key: str, value: int) -> str:
    return f"{value:#x}" if key.endswith("zxid") or key == "ephemeralOwner" else str(value)


def _text(data: bytes | None) -> str | None:
    """None where it is none."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character in "\n\t" for character in text) else None


def _no_chroot() -> Refused:
    return Refused("Nothing is there.", why="the chroot does not exist in this ensemble")


def _write(file: pathlib.Path, tree: dict[str, Znode]) -> None:
    """Aside first, so that a dump with this name is always a whole one."""
    aside = file.with_name(file.name + ".part")
    data = "".join(line + "\n" for line in dump_lines(tree)).encode()
    aside.write_bytes(gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)
    os.replace(aside, file)


def _read(file: pathlib.Path) -> dict[str, Znode]:
    data = file.read_bytes()
    try:
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Refused("This is no dump.", where=str(file), why=str(error)) from None
    return load_lines(text.splitlines())
