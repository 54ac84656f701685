"""What a process takes, as the kernel tells it."""

import pathlib
from collections import defaultdict

import attrs

from quorate.admin.cluster import NodeProcess

MIB = 1024 * 1024
MEMORY, FILES, THREADS, DIRECTORY = "memory", "open files", "threads", "directory"


def measure(pid: int, directory: pathlib.Path) -> dict[str, float]:
    """By quantity; empty: the process is gone."""
    process = pathlib.Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return {
            MEMORY: int(status["VmRSS"].split()[0]) / 1024,
            FILES: float(len(list((process / "fd").iterdir()))),
            THREADS: float(status["Threads"]),
            DIRECTORY: _bytes_in(directory) / MIB,
        }
    except (OSError, KeyError):
        return {}


def _bytes_in(directory: pathlib.Path) -> int:
    found = 0
    for path in directory.iterdir():
        try:
            found += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # it was let go meanwhile
    return found


@attrs.define(eq=False)
class Lives:
    """The samples of each life of each process, since that life began."""

    series: dict[tuple[str, int], dict[str, list[tuple[float, float]]]] = attrs.Factory(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    _began: dict[int, float] = attrs.Factory(dict)
    _number: dict[str, list[int]] = attrs.Factory(lambda: defaultdict(list))

    def sample(self, node: NodeProcess, now_s: float) -> None:
        pid = node.pid
        taken = {} if pid is None else measure(pid, node.files.data)
        if pid is None or not taken:
            return
        pids = self._number[node.name]
        if pid not in pids:
            pids.append(pid)
            self._began[pid] = now_s
        for quantity, value in taken.items():
            self.series[node.name, len(pids)][quantity].append((now_s - self._began[pid], value))
