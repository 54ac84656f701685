"""Free ports on loopback, kept for their nodes while they are down.

A port found by "bind to 0, look, close" may be gone before the node binds it, and a killed node's port may be
taken by anybody's outgoing connection before the node is back. So a launcher holds a port by a socket that is
bound and never listens: with SO_REUSEADDR on both sides Linux lets the node bind and listen beside it, gives the
port to nobody else, and refuses those who connect while the node is down, exactly as if nothing were there.
New ports come from below the range of outgoing connections, so that they are still free at the next start.
"""

import random
import socket
from typing import Final, Self

from quorate.admin.errors import Refused

LOOPBACK: Final = "127.0.0.1"
_FIRST: Final = 20_000
_BEHIND: Final = 32_000
_TRIES: Final = 1_000


class HeldPorts:
    """Ports that belong to this process until `close`."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, rng: random.Random) -> int:
        """A free port that no other launcher can claim.

        Raises:
            Refused: there is none.
        """
        for _ in range(_TRIES):
            port = rng.randrange(_FIRST, _BEHIND)
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                # Exclusive while binding, so that two launchers never get the same one; shared afterwards.
                holder.bind((LOOPBACK, port))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            except OSError:
                holder.close()
                continue
            self._sockets[port] = holder
            return port
        raise Refused(
            "No free port was found.",
            where=f"{LOOPBACK}, ports {_FIRST} to {_BEHIND - 1}",
            why=f"{_TRIES} of them, drawn at random, are all in use",
            remedy="stop what listens there",
        )

    def hold(self, port: int, owner: str) -> None:
        """Holds a port that a node's file names, from an earlier start.

        Raises:
            Refused: somebody else listens there.
        """
        if port in self._sockets:
            return
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((LOOPBACK, port))
        except OSError as error:
            holder.close()
            raise Refused(
                f"{owner} cannot have its port.",
                where=f"{LOOPBACK}:{port}",
                why=f"another process has it ({error.strerror}); perhaps this cluster is already running",
                remedy="stop that process, or use another --dir",
            ) from error
        self._sockets[port] = holder

    def close(self) -> None:
        for holder in self._sockets.values():
            holder.close()
        self._sockets.clear()
