"""Who is told of what is done: a collector, if the settings name one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from mirror import config
from mirror.core.ports import Tracer, Untraced

INSTALL = "pip install 'registry-mirror[tracing]'"
"""What there is to do about a SettingsError."""


@contextmanager
def tracing(settings: config.Tracing) -> Iterator[Tracer]:
    """The tracer; nothing of OpenTelemetry is imported unless it is to be used. Raises SettingsError: it is missing."""
    if settings.endpoint is None:
        yield Untraced()
        return
    with exporter()(settings.endpoint, settings.sample) as tracer:
        yield tracer


def exporter() -> Callable[[str, float], AbstractContextManager[Tracer]]:
    """What tells a collector. Raises SettingsError: the extra is not installed."""
    try:
        from mirror.tracing.exporting import exporting  # noqa: PLC0415 - an extra, which few have
    except ImportError as error:
        reason = f"tracing.endpoint: needs OpenTelemetry, which is not installed here ({error}): {INSTALL}"
        raise config.SettingsError(reason) from error
    return exporting
