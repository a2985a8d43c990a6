"""An upstream that is away: nothing is lost, nothing else is held up, and it is not stormed when it is back."""

import pytest

from tests.faults.way import BEGIN, UPLOAD, Way, layer
from tests.rig.faults import Reply, Stall
from tests.rig.registry import Registry
from tests.rig.until import until

IMAGES = 20
ONE_SLOT = {"replication": {"jobs": 1, "stall": 1.0}}


@pytest.mark.slow
def test_it_costs_single_probes(way: Way, registry: Registry) -> None:
    """While many images wait, the upstream is asked `GET /v2/` and no more; when it is back, all arrive."""
    registry.kill()
    layers = [layer(seed, 10_000) for seed in range(IMAGES)]
    pushed = [way.push(data, f"v{number}") for number, data in enumerate(layers)]
    until(lambda: way.proxy.seen("GET", "^/v2/$"), "the outage is noticed")
    before = len(way.proxy.requests)
    until(lambda: len(way.proxy.requests) >= before + 3, "the upstream is probed", 60)
    probes = [(request.method, request.path) for request in way.proxy.requests[before:]]
    assert set(probes) == {("GET", "/v2/")}
    counts = way.daemon.status()["counts"]["replicate"]
    assert counts.get("pending", 0) + counts.get("running", 0) == IMAGES
    registry.start()
    for number, (raw, data) in enumerate(zip(pushed, layers, strict=True)):
        way.arrives(raw, data, f"v{number}")


@pytest.mark.parametrize("settings", [ONE_SLOT])
@pytest.mark.slow
def test_a_stall_frees_its_slot(way: Way) -> None:
    """A blob that stalls for ever is given up, so that the next job has its turn although there is one slot."""
    way.proxy.arm(Stall(1000), "PUT|PATCH", UPLOAD)
    stalled = way.push()
    until(lambda: 1000 in way.sent(), "it stalls")
    other = layer(8)
    way.arrives(way.push(other, "v2"), other, "v2")
    way.arrives(stalled)


def test_429_holds_all_jobs(way: Way) -> None:
    """An upstream that wants to be left alone is: no job of any image asks it before the time is over."""
    way.proxy.arm(Reply(429, {"Retry-After": "2"}), "POST", BEGIN)
    raw = way.push(alone=True)
    until(lambda: [line for line in way.daemon.log_lines() if line["event"] == "upstream.rests"], "it is refused")
    other = layer(8)
    another = way.push(other, "v2")
    way.arrives(raw)
    way.arrives(another, other, "v2")
    assert way.pause_after(429) >= 2  # a lower bound, which a slow machine can only keep the better
