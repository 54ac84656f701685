"""How a node writes its own log: for people, or one JSON object a line; to stderr unless told otherwise."""

import enum
import logging
import sys
from typing import Any, Final, TextIO

import structlog

from quorate.metadata.node_config import NodeConfig

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogForm(enum.StrEnum):
    """The choices of quorate.log.format."""

    CONSOLE = "console"
    JSON = "json"


def configure_logs(config: NodeConfig, stream: TextIO | None = None) -> None:
    """For the whole process; with several nodes in one process the last one's format and level count."""
    configure_process_logs(LogForm(config.log_format), config.log_level, stream)


def configure_process_logs(form: LogForm, level: str = "info", stream: TextIO | None = None) -> None:
    """For a process that is no node."""
    stream = stream or sys.stderr
    as_json = form is LogForm.JSON
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors.append(_for_people(colors=stream is not None and stream.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def _for_people(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    # A plain traceback: the coloured one of rich shows local variables, and with them what should stay secret.
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
