"""Minutes of pushes under chaos; `make soak MINUTES=60` is the same for longer."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Timer

import pytest

from tests.rig.until import until
from tests.soak.builder import Builder
from tests.soak.chaos import Chaos, Parts
from tests.soak.conftest import MAX_AGE, MINUTES, SEED
from tests.soak.ledger import Ledger
from tests.soak.promises import broken, left_behind, parked, unfinished
from tests.soak.pusher import Pusher

_log = logging.getLogger(__name__)
PUSHERS = 4
SETTLED = 300.0
SWEPT = 360.0 + 3 * MAX_AGE
"""Seconds; some of it goes with the next round of the reconciler, which are five minutes apart when nothing happens."""


def soak(parts: Parts, pushers: Sequence[Pusher], stop: Event) -> None:
    """Push and break until the time is over, then let all go on undisturbed."""
    clock = Timer(MINUTES * 60, stop.set)
    clock.start()
    for pusher in pushers:
        pusher.start()
    try:
        Chaos(SEED, parts, stop).run()
    finally:
        clock.cancel()
        stop.set()
        for pusher in pushers:
            pusher.join()
        parts.proxy.disarm()
        parts.proxy.cut_all()


def nothing(probe: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until a probe finds nothing; what it still finds is the failure."""
    try:
        until(lambda: not probe(), what, seconds)
    except TimeoutError:
        assert not probe(), f"seed {SEED}: {what}"


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 2 * SETTLED + SWEPT)
def test_soak(parts: Parts, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All that was acknowledged is upstream, byte for byte; each tag is its last push; and nothing is left over."""
    caplog.set_level(logging.INFO)
    _log.info("soak of %g minutes, seed %d", MINUTES, SEED)
    ledger, stop = Ledger(), Event()
    pushers = [Pusher(n, SEED, Builder(parts.daemon, ledger), directory, stop) for n in range(PUSHERS)]
    soak(parts, pushers, stop)
    assert [pusher.failure for pusher in pushers if pusher.failure] == [], f"seed {SEED}"
    assert all(pusher.acknowledged for pusher in pushers), f"seed {SEED}"
    nothing(lambda: unfinished(parts.daemon), "unfinished", SETTLED)
    assert parked(parts.daemon) == [], f"seed {SEED}"
    assert list(broken(ledger, parts.registry)) == [], f"seed {SEED}"
    nothing(lambda: left_behind(parts.containerd), "left behind", SWEPT)
    _log.info("%d pushes, %d manifests", sum(it.acknowledged for it in pushers), len(ledger.manifests))
