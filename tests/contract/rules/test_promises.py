"""The promise of a 201 against a model: deeds done at once, garbage collected and daemons dying at any step."""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mirror.core.jobs import Kind, State
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Repository
from tests.contract.rules.deeds import Deed, Delete, Late, Mend, Push, Pushed, Scene, Untag, Vanish, Work
from tests.contract.rules.lives import MAX_AGE, KilledError, Life
from tests.double.garbage import collect
from tests.double.state import Store
from tests.rig.images import ARCHITECTURE, File, Layer, Platform, build_image, build_index
from tests.unit.clock import ManualClock

STEPS = 10
SECONDS = 30.0
DAY = 86400.0
SWEEP_EVERY = 60.0
EVERYTHING = 1000
REPOSITORIES = [Repository("registry.example.com", path) for path in ("team/app", "team/other")]
IMAGES = 4

images, repositories, tags = st.integers(0, IMAGES - 1), st.sampled_from(REPOSITORIES), st.just("v1")
pushes = st.builds(Push, images, repositories, tags, st.booleans(), st.booleans())
works = st.builds(Work, st.sampled_from([Kind.REPLICATE, Kind.UNPACK]))
removals = st.builds(Untag, repositories, tags) | st.builds(Delete, repositories, images)
others = works | removals | st.builds(Mend) | st.builds(Vanish, repositories)
deeds = st.builds(Late, pushes | others, st.integers(0, 30))
paces = st.sampled_from([1, 1, 2, 3, 0])
deaths = st.none() | st.integers(1, 100)

_T = TypeVar("_T")


class Host(RuleBasedStateMachine):
    """A host on which a daemon lives, dies and is born again, always with the same containerd and the same journal."""

    def __init__(self, pushed: list[Pushed], directory: Path) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.journal = Path(tempfile.mkdtemp(dir=directory)) / "journal.db"
        self.clock = ManualClock()
        self.store = Store(self.clock)
        ids = itertools.count()
        self.new_id = lambda: str(next(ids))
        self.deaths = 0
        self.scene = Scene(self._born(), pushed)

    @rule(together=st.lists(deeds, min_size=1, max_size=3), pace=paces, death=deaths)
    def live(self, together: list[Deed], pace: int, death: int | None) -> None:
        """Some deeds at the same time, which may be the last ones of this life."""
        self.do(together, pace, death)

    @rule()
    def wait(self) -> None:
        """Nobody does anything for so long that uploads are given up."""
        self._run(self._sweep())

    @rule()
    def catch_up(self) -> None:
        """Every job is done, so that nothing but image records holds anything."""
        self._run(self._work_off())

    @rule()
    def restart(self) -> None:
        """The daemon ends in order, and starts."""
        self._run(self.scene.life.pushing.close())
        self._reborn()

    @invariant()
    def what_was_acknowledged_is_complete(self) -> None:
        """Until it is upstream, all of it is in the store, whatever was collected; and no job is forgotten."""
        collect(self.store)
        self._run(self._check())

    def teardown(self) -> None:
        """When all is done and deleted, nothing is left; what a death left behind may take a day to expire."""
        self._run(self._finish())
        if self.deaths:
            self.clock.advance(2 * DAY)
        collect(self.store)
        left = [self.store.images, self.store.leases, self.store.ingests, self.store.snapshots, self.store.blobs]
        self._run(self.scene.life.database.__aexit__())
        self.runner.close()
        assert not any(left), left

    def _born(self) -> Life:
        life = Life(self.store, self.journal, self.clock, self.new_id)
        self._run(life.database.__aenter__())
        return life

    def do(self, together: Sequence[Deed], pace: int = 1, death: int | None = None) -> None:
        """Do some deeds at the same time, and be born again if they ended in death."""
        self.scene.life.fate.decide(pace, death)
        for end in self._run(self._all(together)):
            match end:
                case RegistryError(problem=Problem.MANIFEST_BLOB_UNKNOWN) if len(together) > 1:
                    continue  # it was deleted meanwhile
                case KilledError():
                    continue
                case BaseExceptionGroup() if end.split(KilledError)[1] is None:  # of what a deed does at once
                    continue
                case BaseException():
                    raise end
        self.scene.life.fate.decide(0, None)
        if self.scene.life.fate.is_dead:
            self._reborn()

    def _reborn(self) -> None:
        self.deaths += self.scene.life.fate.is_dead
        self.scene.life.connection.close()
        self._run(self.scene.life.database.__aexit__())
        self.scene.life = self._born()

    async def _all(self, together: Sequence[Deed]) -> list[BaseException | None]:
        return await asyncio.gather(*(deed.do(self.scene) for deed in together), return_exceptions=True)

    async def _sweep(self) -> None:
        sweeping = asyncio.ensure_future(self.scene.life.pushing.sweep())
        await self.clock.until_asleep(SWEEP_EVERY)
        self.clock.advance(MAX_AGE + 1)
        await self.clock.until_asleep(SWEEP_EVERY)
        sweeping.cancel()

    async def _check(self) -> None:
        jobs = self.scene.life.jobs
        unfinished = {task.job.id: task for task in await jobs.unfinished(EVERYTHING) if task.kind is Kind.REPLICATE}
        for task in unfinished.values():
            assert await self.scene.is_complete(task.job.digest)
        for job in self.scene.acknowledged - unfinished.keys():
            states = {task.kind: task.state for task in await jobs.tasks(job)}
            assert states[Kind.REPLICATE] is State.DONE

    async def _work_off(self) -> None:
        while await self.scene.life.jobs.unfinished(1):
            for kind in (Kind.REPLICATE, Kind.UNPACK):
                await Work(kind).do(self.scene)

    async def _finish(self) -> None:
        await self._work_off()
        await self._sweep()
        await Mend().do(self.scene)
        for repository, image in itertools.product(REPOSITORIES, range(IMAGES)):
            await Delete(repository, image).do(self.scene)

    def _run(self, work: Awaitable[_T]) -> _T:
        return self.runner.run(asyncio.wait_for(work, SECONDS))


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> list[Pushed]:
    """Two images that share a layer, one that is a part of them, and an index of two that has them in it."""
    base, *others = [Layer([File("name", name.encode())]) for name in ("base", "one", "two")]
    directory = tmp_path_factory.mktemp("images")
    layouts = [
        build_image(directory / str(n), layers) for n, layers in enumerate([[base], *([base, one] for one in others)])
    ]
    here, elsewhere = Platform(ARCHITECTURE), Platform("elsewhere")
    layouts.append(build_index(directory / "index", {here: [base, others[0]], elsewhere: [others[1]]}))
    return [Pushed.read(layout) for layout in layouts]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_promises_are_kept(examples: int, pushed: list[Pushed], tmp_path: Path) -> None:
    """Nothing that was acknowledged is ever incomplete before it is upstream, and nothing at all is left at the end."""

    class HereAndNow(Host):
        def __init__(self) -> None:
            super().__init__(pushed, tmp_path)

    chosen = settings(max_examples=examples, stateful_step_count=STEPS, print_blob=True)
    run_state_machine_as_test(HereAndNow, settings=chosen)


@pytest.mark.parametrize("turns", range(20))
def test_the_last_name_goes_during_a_push(turns: int, pushed: list[Pushed], tmp_path: Path) -> None:
    """Whenever it does: a client that skips what is there is refused, or what it was told to be stored is complete."""
    host, repository = Host(pushed, tmp_path), REPOSITORIES[0]
    host.do([Push(1, repository, "v1", asks=False, mounts=False)])
    host.catch_up()
    again = Push(1, repository, "v2", asks=True, mounts=False)
    host.do([again, Late(Untag(repository, "v1"), turns)])
    host.what_was_acknowledged_is_complete()
    host.teardown()


@pytest.mark.parametrize("death", range(1, 13))
def test_the_daemon_dies_during_a_delete(death: int, pushed: list[Pushed], tmp_path: Path) -> None:
    """Wherever it does: deleted once more, nothing of the image is left, and no tag that nobody can delete."""
    host, repository = Host(pushed, tmp_path), REPOSITORIES[0]
    host.do([Push(1, repository, "v1", asks=False, mounts=False)])
    host.do([Delete(repository, 1)], death=death)
    host.teardown()
