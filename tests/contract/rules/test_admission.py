"""Whether there is room for a push, on a disk that is really small."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mirror.core.admission import WINDOW, Admission
from mirror.core.capacity import Capacity, Marks
from mirror.core.ports import StoreFacts
from mirror.oci.errors import Problem, RegistryError
from mirror.runtime.disk import HostDisk
from tests.rig.disk import Disk

MIB = 1024 * 1024
SIZE = 32 * MIB
RESERVE = 2 * MIB
SPARE = SIZE - RESERVE
MARKS = Marks(reserve=RESERVE, evict_at=50, evict_to=25)


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    with Disk(directory / "disk", SIZE) as disk:
        yield disk


@pytest.fixture
def capacity(disk: Disk, tmp_path: Path) -> Capacity:
    """That of the small disk, with the journal elsewhere."""
    capacity = Capacity(HostDisk(), MARKS, tmp_path / "journal.db")
    capacity.learn(StoreFacts("1.6", disk.path, disk.path))
    return capacity


@pytest.fixture
def wanted() -> list[int]:
    return []


@pytest.fixture
def admission(capacity: Capacity, wanted: list[int]) -> Admission:
    return Admission(capacity, wanted.append)


def put(disk: Disk, size: int, name: str = "data") -> None:
    """Write a file."""
    (disk.path / name).write_bytes(bytes(size))


def test_a_length_that_fits_to_the_byte(admission: Admission, wanted: list[int]) -> None:
    """One byte more would touch the reserve: it is refused with all the figures, and asked for."""
    admission.check(SPARE)
    with pytest.raises(RegistryError) as refusal:
        admission.check(SPARE + 1)
    assert refusal.value.problem is Problem.NO_ROOM
    for figure in (SPARE + 1, SIZE, RESERVE):
        assert f"{figure} " in refusal.value.detail
    assert "Retry-After" in refusal.value.headers
    assert wanted == [SPARE + 1]


def test_what_is_under_way_counts(admission: Admission, disk: Disk) -> None:
    """What was admitted is promised until it is written, and given back when it never comes."""
    half = SPARE // 2
    with admission.admitted(half) as allowance:
        with pytest.raises(RegistryError, match=f"{half} promised"):
            admission.check(half + 1)
        allowance.take(half)
        put(disk, half)
        with pytest.raises(RegistryError, match=r" 0 promised"):
            admission.check(half + 1)
        admission.check(half)
    (disk.path / "data").unlink()
    with pytest.raises(ConnectionError), admission.admitted(SPARE):
        raise ConnectionError
    admission.check(SPARE)


def test_an_unknown_length_is_taken_by_the_window(admission: Admission, disk: Disk) -> None:
    """It goes on for as long as there is room for the next one; a body that is longer than it said, too."""
    with admission.admitted(None) as allowance:
        allowance.take(1)
        allowance.take(WINDOW - 1)
        put(disk, SPARE - WINDOW + 1)
        with pytest.raises(RegistryError):
            allowance.take(1)
    with admission.admitted(1) as allowance:
        allowance.take(1)
        with pytest.raises(RegistryError):
            allowance.take(1)


def test_nothing_needs_no_room(admission: Admission, disk: Disk) -> None:
    """An upload that has all its bytes may end on a full disk."""
    disk.fill()
    with admission.admitted(0):
        pass
    with pytest.raises(RegistryError):
        admission.check(1)


def test_the_default_reserve(disk: Disk, tmp_path: Path) -> None:
    """A share of a small disk."""
    capacity = Capacity(HostDisk(), Marks(), tmp_path / "journal.db")
    capacity.learn(StoreFacts("1.6", disk.path, disk.path))
    level = capacity.tightest()
    assert level
    assert (level.total, level.reserve) == (SIZE, SIZE // 20)


def test_how_much_must_go(capacity: Capacity, disk: Disk) -> None:
    """Nothing up to the one mark; above it, all that is above the other."""
    put(disk, SIZE // 2)
    assert capacity.excess() == 0
    put(disk, 4096, "more")
    assert capacity.excess() == SIZE // 4 + 4096


def test_why_nothing_can_be_pushed(capacity: Capacity, disk: Disk) -> None:
    """Only when the reserve is touched: a disk that is rather full takes what fits."""
    put(disk, SPARE - 4096)
    assert capacity.shortage() is None
    disk.fill()
    assert str(disk.path) in (capacity.shortage() or "")


def test_the_journals_disk_counts(disk: Disk) -> None:
    """It is not containerd's, and no eviction helps it."""
    capacity = Capacity(HostDisk(), Marks(), disk.path / "journal.db")
    assert capacity.shortage() is None
    disk.fill()
    assert "journal" in (capacity.shortage() or "")
    assert capacity.excess() == 0


@pytest.mark.parametrize("content", [None, Path("/nowhere/at/all")], ids=["not told", "not seen from here"])
def test_an_unknown_disk_has_no_limits(tmp_path: Path, content: Path | None) -> None:
    """Which is said once."""
    capacity = Capacity(HostDisk(), Marks(), tmp_path / "journal.db")
    with capture_logs() as lines:
        for _ in range(2):
            capacity.learn(StoreFacts("1.6", content, content))
            Admission(capacity, lambda _: None).check(1 << 60)
    assert capacity.excess() == 0
    assert [line["event"] for line in lines] == ["disk.unknown"]
