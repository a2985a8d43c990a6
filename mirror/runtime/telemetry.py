"""Structured logs: JSON lines for machines, coloured lines for a terminal; always on standard error."""

import logging
import sys
from typing import Literal

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

Format = Literal["auto", "json", "console"]

_ALWAYS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logging(level: str, style: Format) -> None:
    """Set logging up for the process; `auto` means console on a terminal and JSON elsewhere.

    What libraries say through the standard library's logging takes the same form.
    """
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*_ALWAYS, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=_ALWAYS, processors=[ProcessorFormatter.remove_processors_meta, *render])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
