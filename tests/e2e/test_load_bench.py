"""What the benchmarks of many builders and of many images measure is what they say."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench import growth, load
from bench.load import Work
from bench.populate import LARGE, UPSTREAM, names, populate
from bench.report import Report
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import Wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_host_that_was_made(directory: Path) -> None:
    """The daemon finds nothing wrong with it, serves what is in it, and has nothing left to do."""
    populate(30, directory)
    with (
        Registry(directory / "upstream") as upstream,
        Containerd(directory / "containerd") as containerd,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream.url}) as daemon,
    ):
        done = daemon.cli("check")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert set(containerd.images()) == {name.repository.image(name.tag) for name in names(30)}
        assert Wire(daemon.url).ask("GET", f"/v2/{LARGE}/manifests/v1").status == 200
        assert [daemon.status()["counts"][kind]["done"] for kind in ("replicate", "unpack")] == [30, 30]


def test_the_load_on_each(directory: Path) -> None:
    """Every image arrives at both, beside large ones, and every kind of request is timed as often as it was made."""
    work = Work.make(directory, small=4, large=1, size=1 << 20, builders=2)
    for runs in load.measure(work, 1).values():
        [run] = runs
        assert [len(run.times.by_kind[kind]) for kind in ("upload", "blob", "manifest")] == [12, 12, 4]
        assert min(len(run.times.by_kind["answer"]), len(run.times.large), len(run.idle.by_kind["container"])) > 0


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (load.main, ["--images", "4", "--builders", "2", "--large", "1", "--mebibytes", "1", "--rounds", "1"]),
        (growth.main, ["--images", "10", "100", "--rounds", "1", "--times", "2"]),
    ],
    ids=["load", "growth"],
)
def test_the_program(program: Callable[[Sequence[str]], Report], arguments: list[str]) -> None:
    """It comes to its end, with a figure for each way."""
    report = program(arguments)
    assert all(min(figures) > 0 for measure in report.measures for figures in measure.ways.values())
