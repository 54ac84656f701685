"""`quorate broker`: run a broker in this process."""

import os
import pathlib
import socket

from quorate.admin.logs import configure_logs
from quorate.admin.node_files import load_broker, warn
from quorate.admin.options import ConfigArgument, command_group
from quorate.admin.serving import StopAtEof, serve
from quorate.broker.main import run_broker
from quorate.metadata.settings import read
from quorate.metadata.zookeeper.settings import is_zookeeper_mode

app = command_group("Run a broker.")


@app.callback()
def _broker() -> None:
    """Run a broker."""


@app.command("start")
def start(config: ConfigArgument, stop_at_eof: StopAtEof = False) -> None:
    """Runs the broker that CONFIG describes.

    Until SIGTERM or Ctrl-C: then it leaves the cluster in order. A second one ends the process at once.
    A file with zookeeper.connect and without process.roles describes a broker in ZooKeeper mode.
    """
    if is_zookeeper_mode(read(config)):
        _start_in_zookeeper_mode(config, stop_at_eof)
        return
    node = load_broker(config)
    configure_logs(node)
    serve(lambda stop: run_broker(node, stop=stop), stop_at_eof=stop_at_eof)


def _start_in_zookeeper_mode(config: pathlib.Path, stop_at_eof: bool) -> None:
    from quorate.admin.zookeeper_mode import (  # brings a controller's code and kazoo with it
        load_zookeeper_node,
        run_zookeeper_node,
    )

    node, warnings = load_zookeeper_node(config, os.environ, socket.gethostname())
    warn(warnings)
    configure_logs(node.broker)
    serve(lambda stop: run_zookeeper_node(node, stop=stop), stop_at_eof=stop_at_eof)
