"""Structured logs: JSON lines for machines, coloured lines for a terminal, entries with fields for systemd's journal.

Which events there are is told in docs/events.md.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Literal

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from mirror.runtime import journald

Format = Literal["auto", "json", "console", "journald"]

_ALWAYS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}

# No event of ours has a secret in it. This is for what others say: a URL of an upload that is signed, an error that
# quotes a header.
_SECRETS = (
    (re.compile(r"(?<=://)[^/@\s\"']+(?=@)"), "***"),
    # Words may follow these as well; no credential is all in small letters.
    (re.compile(r"\b([Bb]asic|[Bb]earer) +(?=[a-z._~+/-]*[A-Z0-9=])[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (
        re.compile(
            r"([?&](?:_state|access_token|token|refresh_token|sig|signature|x-[a-z]+-(?:signature|credential|security-token))=)"
            r"[^&\s\"'\\]+",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)


_OURS = "mirror"


def set_level(level: str) -> None:
    """Write what is as important as that or more, from now on."""
    logging.getLogger(_OURS).setLevel(level.upper())


def _wanted(_: object, method: str, event: EventDict) -> EventDict:
    """Drop what is below the level: that may change while loggers are held that were made before."""
    if not logging.getLogger(_OURS).isEnabledFor(logging.getLevelNamesMapping()[method.upper()]):
        raise structlog.DropEvent
    return event


def masked(text: str) -> str:
    """A text without what looks like a secret: logins in URLs, credentials, signatures."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure_logging(level: str, style: Format, journal: Path = journald.SOCKET) -> None:
    """Set logging up for the process; `auto` means whatever standard error is: the journal, a terminal, or a file.

    What libraries say through the standard library's logging takes the same form. `journal` is where journald listens.
    """
    if style == "auto":
        style = "journald" if journald.is_journal(sys.stderr) else "console" if sys.stderr.isatty() else "json"
    render = _renderers(style)
    sink = journald.Journal(journal) if style == "journald" else None
    set_level(level)
    structlog.configure(
        processors=[_wanted, *_ALWAYS, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=(lambda *_: _JournalLogger(sink)) if sink else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    processors: list[Processor] = [ProcessorFormatter.remove_processors_meta, *render]
    if sink:
        processors.append(_as_text)
    handler = _JournalHandler(sink) if sink else logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=_ALWAYS, processors=processors))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _renderers(style: Format) -> list[Processor]:
    match style:
        case "console":
            return [structlog.processors.format_exc_info, _mask, structlog.dev.ConsoleRenderer()]
        case "journald":
            return [structlog.processors.format_exc_info, _mask, _fields]
        case _:
            return [structlog.processors.dict_tracebacks, _mask, structlog.processors.JSONRenderer()]


def _mask(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _without_secrets(value) for key, value in event.items()}


def _without_secrets(value: object) -> object:
    match value:
        case str():
            return masked(value)
        case dict():
            return {key: _without_secrets(each) for key, each in value.items()}
        case list() | tuple():
            return [_without_secrets(each) for each in value]
        case _:
            return value


def _fields(_: object, level: str, event: MutableMapping[str, Any]) -> bytes:
    """An entry for journald: a line that people read, and a field for each key."""
    event.pop("timestamp", None)  # journald has its own
    name = str(event.pop("event", ""))
    priority = _PRIORITIES.get(str(event.pop("level", level)), "6")
    exception = {"exception": event.pop("exception")} if "exception" in event else {}
    told = {key: _text(value) for key, value in event.items() if value is not None}
    message = " ".join([name, *(f"{key}={value}" for key, value in told.items())])
    fields = {"MESSAGE": message, "PRIORITY": priority, "SYSLOG_IDENTIFIER": journald.IDENTIFIER, "EVENT": name}
    return journald.entry(fields | told | exception)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


class _JournalLogger:
    """What structlog hands rendered events to."""

    def __init__(self, journal: journald.Journal) -> None:
        self._journal = journal

    def msg(self, data: bytes) -> None:
        """Take one."""
        self._journal.send(data)

    debug = info = warning = error = critical = msg


def _as_text(_: object, __: str, data: Any) -> str:  # noqa: ANN401 - what the processor before it made
    """Formatters of the standard library give text; any bytes fit into it and out of it again."""
    return bytes(data).decode("latin-1")


class _JournalHandler(logging.Handler):
    """The same for what libraries log."""

    def __init__(self, journal: journald.Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._journal.send(self.format(record).encode("latin-1"))
