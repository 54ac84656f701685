"""`ruok`, `srvr`, `stat`, `mntr`, `isro`: what operators and probes ask a ZooKeeper server in four letters (pure).

Sent instead of a first message, answered in plain text, then the connection ends (ZooKeeper Administrator's Guide, "The
Four Letter Words"). The other words are refused in ZooKeeper's words.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from quorate.metadata.zookeeper.service import Client, ZooKeeperService

VERSION: Final = "quorate"
_REFUSED: Final = ("conf", "cons", "crst", "dirs", "dump", "envi", "hash", "srst", "wchc", "wchp", "wchs")
WORDS: Final = frozenset(word.encode() for word in ("ruok", "srvr", "stat", "mntr", "isro", *_REFUSED))


@attrs.frozen
class Figures:
    """What only the shell knows."""

    connections: int
    waiting: int
    """Replies that wait for the disk."""
    latency_ms: tuple[float, float, float]
    """Lowest, mean and highest time of a flush."""


def answer(word: bytes, service: ZooKeeperService, clients: Iterable[Client], figures: Figures) -> str:
    """The whole answer to one of `WORDS`."""
    match word:
        case b"ruok":
            return "imok"
        case b"isro":
            return "rw"
        case b"srvr":
            return _server(service, list(clients), figures)
        case b"stat":
            counted = list(clients)
            lines = [
                f" /{client.address}[{1 if client.session else 0}]"
                f"(queued={client.waiting},recved={client.received},sent={client.sent})\n"
                for client in counted
            ]
            version, _, rest = _server(service, counted, figures).partition("\n")
            return f"{version}\nClients:\n{''.join(lines)}\n{rest}"
        case b"mntr":
            return "".join(f"zk_{key}\t{value}\n" for key, value in _monitored(service, clients, figures))
        case _:
            return f"{word.decode()} is not executed because it is not in the whitelist.\n"


def _server(service: ZooKeeperService, clients: list[Client], figures: Figures) -> str:
    low, mean, high = figures.latency_ms
    return (
        f"Zookeeper version: {VERSION}\n"
        f"Latency min/avg/max: {low:.0f}/{mean:.4f}/{high:.0f}\n"
        f"Received: {sum(client.received for client in clients)}\n"
        f"Sent: {sum(client.sent for client in clients)}\n"
        f"Connections: {figures.connections}\n"
        f"Outstanding: {figures.waiting}\n"
        f"Zxid: 0x{service.state.last_zxid:x}\n"
        "Mode: standalone\n"
        f"Node count: {len(service.state.tree)}\n"
    )


def _monitored(
    service: ZooKeeperService, clients: Iterable[Client], figures: Figures
) -> list[tuple[str, object]]:
    counted = list(clients)
    low, mean, high = figures.latency_ms
    state = service.state
    return [
        ("version", VERSION),
        ("server_state", "standalone"),
        ("min_latency", f"{low:.0f}"),
        ("avg_latency", f"{mean:.4f}"),
        ("max_latency", f"{high:.0f}"),
        ("packets_received", sum(client.received for client in counted)),
        ("packets_sent", sum(client.sent for client in counted)),
        ("num_alive_connections", figures.connections),
        ("outstanding_requests", figures.waiting),
        ("znode_count", len(state.tree)),
        ("watch_count", state.watches.count()),
        ("ephemerals_count", sum(map(len, state.tree.owned.values()))),
        ("global_sessions", len(state.sessions.sessions)),
        ("last_zxid", state.last_zxid),
    ]
