"""`quorate quorum` commands given to a cluster of real processes."""

import json
import random
import shutil
import sys
from typing import Any

import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import ClusterFiles, format_spare


def reach(files: ClusterFiles, servers: str) -> list[str]:
    """The options with which a command reaches these servers of a cluster, and is let in."""
    login = [] if files.client_config is None else ["--command-config", str(files.client_config)]
    return ["--bootstrap", servers, *login]


async def quorum(
    cluster: Cluster[NodeProcess], *words: str, timeout_s: int = 30
) -> tuple[int, dict[str, Any]]:
    """The exit code of such a command, and its document; without one, what it said."""
    command = [sys.executable, "-m", "quorate.admin", "quorum", *words]
    command += [*reach(cluster.files, cluster.files.bootstrap_controllers), "--output", "json"]
    command += ["--timeout", str(timeout_s)]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    document: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"error": done.stderr.decode()}
    return done.returncode, document


def put_new_disk(cluster: Cluster[NodeProcess], node: NodeProcess, rng: random.Random) -> None:
    """Instead of the one that a controller, which does not run, has lost."""
    shutil.rmtree(node.files.data)
    format_spare(node.files, cluster.files.cluster_id, rng)


def directory_id(node: NodeProcess) -> str:
    """Of the disk that it has now."""
    lines = (node.files.data / "meta.properties").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("directory.id="))
