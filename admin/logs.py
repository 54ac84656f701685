"""How a node writes its own log: for people on a terminal or in a file, or one JSON object a line; always to stderr."""

import logging
import sys
from typing import Any, Final

import structlog

from quorate.metadata.node_config import NodeConfig

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(config: NodeConfig) -> None:
    """For the whole process; with several nodes in one process the last one's format and level count."""
    as_json = config.log_format == "json"
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors.append(_for_people())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.log_level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _for_people() -> structlog.dev.ConsoleRenderer:
    # A plain traceback: the coloured one of rich shows local variables, and with them what should stay secret.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
