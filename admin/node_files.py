"""A node's configuration file, whichever role it is of, as the commands need it."""

import os
import pathlib
import socket
import sys

from quorate.broker.config import BrokerConfig
from quorate.controller.config import ControllerConfig
from quorate.metadata.node_config import NodeConfig, process_roles
from quorate.metadata.settings import read


def load_controller(path: pathlib.Path) -> ControllerConfig:
    """A controller's file, with the environment; warnings go to stderr.

    Raises:
        InvalidSettings: all that is wrong with it.
    """
    config, warnings = ControllerConfig.load(path, os.environ, socket.gethostname())
    warn(warnings)
    return config


def load_broker(path: pathlib.Path) -> BrokerConfig:
    """As `load_controller`."""
    config, warnings = BrokerConfig.load(path, os.environ, socket.gethostname())
    warn(warnings)
    return config


def load_either(path: pathlib.Path) -> NodeConfig:
    """The file of a node of either role."""
    return load_broker(path) if process_roles(read(path)) == ("broker",) else load_controller(path)


def warn(warnings: tuple[object, ...]) -> None:
    """On stderr, a line each."""
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
