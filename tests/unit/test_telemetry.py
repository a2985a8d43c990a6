"""The log, as it is written to standard error."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from mirror.runtime.telemetry import Format, configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line with event, level, UTC time, what is bound, and a crash as structure."""
    configure_logging("info", "json")
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(request="r1"):
        log.info("push.acknowledged", image="app:v1")
    log.error("task.failed", exc_info=ValueError("bug"))
    output = capsys.readouterr()
    first, second = (json.loads(line) for line in output.err.splitlines())
    assert (first["event"], first["level"], first["image"], first["request"]) == (
        "push.acknowledged",
        "info",
        "app:v1",
        "r1",
    )
    assert first["timestamp"].endswith("Z")
    assert second["exception"][0]["exc_value"] == "bug"
    assert output.out == ""


@pytest.mark.parametrize(("level", "events"), [("debug", ["d", "i", "w"]), ("info", ["i", "w"]), ("warning", ["w"])])
def test_the_level_decides(capsys: pytest.CaptureFixture[str], level: str, events: list[str]) -> None:
    """What is below the level is not written."""
    configure_logging(level, "json")
    log = structlog.get_logger()
    log.debug("d")
    log.info("i")
    log.warning("w")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events


def test_auto_is_json_away_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The system journal gets JSON without being asked to."""
    configure_logging("info", "auto")
    structlog.get_logger().info("daemon.ready")
    assert json.loads(capsys.readouterr().err)["event"] == "daemon.ready"


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The console form names event and values, and is no JSON."""
    configure_logging("info", "console")
    structlog.get_logger().info("daemon.ready", listen="127.0.0.1:5000")
    line = capsys.readouterr().err
    assert "daemon.ready" in line
    assert "127.0.0.1:5000" in line
    assert not line.startswith("{")


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        (
            "PUT https://r.example.com/v2/?_state=abc123&digest=d: 500",
            "PUT https://r.example.com/v2/?_state=***&digest=d: 500",
        ),
        ("http://user:pass@proxy:3128 refused", "http://***@proxy:3128 refused"),
        ("Authorization: Bearer eyJhbGciOi.J9.x-y_z", "Authorization: Bearer ***"),
        ("Basic YWxhZGRpbjpvcGVu", "Basic ***"),
        (
            "https://s3/b?X-Amz-Credential=AK%2F1&X-Amz-Signature=00ff&x=1",
            "https://s3/b?X-Amz-Credential=***&X-Amz-Signature=***&x=1",
        ),
        ('Bearer realm="https://a/token"', 'Bearer realm="https://a/token"'),
        ("registry.example.com/app@sha256:00", "registry.example.com/app@sha256:00"),
        ("http://host/v2/app@sha256:00", "http://host/v2/app@sha256:00"),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets(capsys: pytest.CaptureFixture[str], style: Format, said: str, masked: str) -> None:
    """What others say may have some: it is masked in an event, in a crash, and in what libraries log."""
    configure_logging("info", style)
    structlog.get_logger().warning("task.failed", reason=said)
    logging.getLogger("library").warning(said)
    structlog.get_logger().error("http.failed", exc_info=ValueError(said))
    told = capsys.readouterr().err.replace('\\"', '"')
    assert masked in told
    assert said == masked or said not in told
