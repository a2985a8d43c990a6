"""The rates of replication and the state of the upstreams, as the admin socket tells them."""

import json
from urllib.parse import quote

import pytest

from tests.conftest import UPSTREAM
from tests.http.conftest import OTHER
from tests.rig.daemon import Daemon
from tests.rig.wire import AdminWire, Answer

UNLIMITED = {"shared": 0, "upstreams": {UPSTREAM: 0, OTHER: 0}}


@pytest.fixture
def admin(daemon: Daemon) -> AdminWire:
    """Requests to the admin socket."""
    return AdminWire(daemon.directory / "admin.sock")


def told(answer: Answer) -> object:
    """The JSON of an answer that is none of refusal."""
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_rates_are_changed_one_by_one(admin: AdminWire) -> None:
    """Each change is answered with all rates, and holds; 0 takes a limit away."""
    assert told(admin.ask("GET", "/limits")) == UNLIMITED
    assert told(admin.ask("POST", "/limits?rate=20000000")) == UNLIMITED | {"shared": 20_000_000}
    limited = {"shared": 20_000_000, "upstreams": {UPSTREAM: 0, OTHER: 1}}
    assert told(admin.ask("POST", f"/limits?upstream={OTHER}&rate=1")) == limited
    assert told(admin.ask("GET", "/limits")) == limited
    admin.ask("POST", f"/limits?upstream={OTHER}&rate=0")
    assert told(admin.ask("POST", "/limits?rate=0")) == UNLIMITED


@pytest.mark.parametrize(
    "rate", ["", "-1", "1.5", "1e3", "20M", "0x10", " 1", "\N{ARABIC-INDIC DIGIT THREE}", "9" * 5000]
)
def test_what_is_no_rate(admin: AdminWire, rate: str) -> None:
    """It is refused with what is needed, and changes nothing."""
    answer = admin.ask("POST", f"/limits?rate={quote(rate)}")
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")
    assert "rate=<bytes per second>" in answer.error["detail"]
    assert told(admin.ask("GET", "/limits")) == UNLIMITED


@pytest.mark.parametrize("name", ["", "unknown.example.com"])
def test_an_upstream_that_is_not_configured(admin: AdminWire, name: str) -> None:
    """It has no rate to change; above all it does not stand for all of them."""
    answer = admin.ask("POST", f"/limits?upstream={name}&rate=1")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    assert told(admin.ask("GET", "/limits")) == UNLIMITED


def test_the_state_of_each_upstream(admin: AdminWire) -> None:
    """The overview has every upstream, also one that nothing ever went to."""
    status = json.loads(admin.ask("GET", "/status").body)
    assert status["upstreams"] == {name: {"state": "ok", "reason": "", "since": None} for name in (UPSTREAM, OTHER)}
