"""Every exception that may reach the end of a command, as a `CommandError`: one table.

The errors of other packages already say what, where, why and what to do; here they get their exit code. What
nobody foresaw is our fault, and the text says so.
"""

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any, Final

import typer

from quorate.admin.errors import CommandError, Fault, Interrupted, NoAnswer, Refused, WrongUsage
from quorate.metadata.checks import InvariantViolated, RemoteProtocolError, RequestRejected
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.settings import InvalidSettings

_UsageError: Final = typer.BadParameter.__mro__[1]
"""The parser's base class of everything that is wrong with a command line; typer gives a name only to this child."""


def translate(error: BaseException) -> CommandError:
    """The error in our words; of a group, its first member that is not a mere consequence."""
    if isinstance(error, BaseExceptionGroup):
        return translate(_first_cause(error))
    for kind, translation in _table():
        if isinstance(error, kind):
            return translation(error)
    return Fault(
        "This is a fault in quorate itself.",
        why=f"{type(error).__name__}: {error}",
        remedy="run it again with --debug and report what it prints",
    )


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """A Ctrl-C outranks what it broke on its way."""
    interrupted = group.subgroup(KeyboardInterrupt)
    cause: BaseException = group if interrupted is None else interrupted
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


def _usage(error: Any) -> CommandError:
    """The parser's own text. Where no command was given, that is the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return WrongUsage(error.format_message().strip())
    path = error.ctx.command_path if error.ctx is not None else "quorate"
    return WrongUsage(error.format_message(), remedy=f"see `{path} --help`")


def _system(error: OSError) -> CommandError:
    """A file, a socket or a process that the operating system refuses."""
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return Refused(
        "The operating system refused.",
        where=where or None,
        why=error.strerror or str(error),
        remedy=_ERRNO_REMEDIES.get(error.errno or 0, "run it again with --debug to see where"),
    )


_ERRNO_REMEDIES: Final = {
    errno.EACCES: "give this user the right to it, or run as the user who has it",
    errno.ENOENT: "check the path",
    errno.EADDRINUSE: "stop the other program on that port, or choose another port",
    errno.ENOSPC: "make room on that disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOTDIR: "a directory is needed there",
    errno.EISDIR: "a file is needed there",
}


def _protocol(error: RemoteProtocolError) -> CommandError:
    return Refused(
        "The other side does not speak Kafka's protocol as it should.",
        why=str(error),
        remedy="check that the address and port are those of a controller or broker",
    )


def _no_answer(error: Any) -> CommandError:
    return NoAnswer(
        f"{error.what}.",
        where=", ".join(str(address) for address in error.reasons) or None,
        why="\n".join(dict.fromkeys(error.reasons.values())) or None,
        remedy="check that these nodes run, or name others with --bootstrap",
    )


def _failure(error: Any) -> CommandError:
    """What went wrong with one node; its text already says what to do."""
    silent = error.failure.kind.value not in ("not Kafka", "unsupported version", "not let in")
    return (NoAnswer if silent else Refused)(error.failure.text)


def _storage(error: StorageRefused) -> CommandError:
    return Refused(error.what, where=str(error.where), why=error.why, remedy=error.remedy)


_Table = tuple[tuple[type[BaseException], Callable[[Any], CommandError]], ...]


def _zookeeper_table() -> _Table:
    """Raised only where ZooKeeper is asked; its client is not loaded to name them."""
    client = sys.modules.get("quorate.metadata.zookeeper.client")
    if client is None:
        return ()
    from quorate.metadata.zookeeper import dump, znodes

    return (
        (client.CannotConnect, lambda error: NoAnswer(error.what, why=error.why, remedy=error.remedy)),
        (dump.DumpUnreadable, lambda error: Refused("This is no dump.", why=str(error))),
        (znodes.ZooKeeperError, _zookeeper),
    )


def _zookeeper(error: Any) -> CommandError:
    """ZooKeeper says a code and nothing else."""
    from quorate.metadata.zookeeper.znodes import ErrorCode

    if error.outcome_unknown:
        return NoAnswer(
            f"The connection to ZooKeeper was lost ({error.code.name}).",
            where=error.path or None,
            why="what was being written may have been written",
            remedy="look at what is there before you try again",
        )
    remedies = {
        ErrorCode.NO_NODE: "`quorate zookeeper ls` shows what is there; a chroot must exist",
        ErrorCode.NO_AUTH: "name credentials in --command-config (quorate.zookeeper.digest or .sasl)",
        ErrorCode.AUTH_FAILED: "check the credentials in --command-config",
    }
    return Refused(
        f"ZooKeeper refused: {error.code.name}.",
        where=error.path or None,
        remedy=remedies.get(error.code, "the code is explained in ZooKeeper's KeeperException"),
    )


@functools.cache
def _table() -> _Table:
    """The first kind that fits counts, so a subclass stands before its base. Made when something went wrong."""
    from quorate.metadata import client
    from quorate.metadata.assembly import CannotListen
    from quorate.metadata.log.interface import StorageFailed
    from quorate.metadata.security.tls import CannotSecure

    # Raised only by a broker that runs here; nobody else should load all of its code to name its exceptions.
    here = (
        ("quorate.broker.main", "CannotJoin"),
        ("quorate.broker.zookeeper_registration", "CannotRegister"),
    )
    cannot_run: _Table = tuple(
        (getattr(sys.modules[module], name), lambda error: Refused(str(error)))
        for module, name in here
        if module in sys.modules
    )
    return (
        *cannot_run,
        *_zookeeper_table(),
        (CommandError, lambda error: error),
        (_UsageError, _usage),
        (KeyboardInterrupt, lambda _: Interrupted("")),
        (typer.Abort, lambda _: Interrupted("")),
        (StorageRefused, _storage),
        (StorageFailed, lambda error: Refused(str(error))),
        (CannotListen, lambda error: Refused(str(error))),
        (CannotSecure, lambda error: Refused(str(error))),
        (InvalidSettings, lambda error: Refused(str(error))),
        (RequestRejected, lambda error: Refused(f"{error.code.name.upper()}: {error.message}")),
        (client.NoAnswer, _no_answer),
        (client.CallFailed, _failure),
        (client.ConnectFailed, _failure),
        (RemoteProtocolError, _protocol),
        (InvariantViolated, lambda error: Refused(str(error))),
        (OSError, _system),
    )
