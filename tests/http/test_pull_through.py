"""What is not here comes from the upstream, whoever asks for it and however many do."""

import json
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from threading import Event
from urllib.parse import unquote

import pytest

from mirror.oci.manifest import OCI_INDEX
from tests.conftest import UPSTREAM
from tests.http.conftest import Held
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import CutAnswer, Fault, HoldAnswer, Reply, Rewrite, StallAnswer
from tests.rig.images import File, Layer, Layout, build_image, busybox
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, manifest

MIB = 1 << 20
READERS = 50
PATIENCE = 1.5
BLOBS = r"/blobs/sha256:"


@pytest.fixture
def proxy(upstream: Registry) -> Iterator[Proxy]:
    """The way to the upstream, which counts and breaks."""
    with Proxy(upstream.host) as proxy:
        yield proxy


def _daemon(scratch: Path, containerd: Containerd, proxy: Proxy, **pull: object) -> Daemon:
    directory = Path(tempfile.mkdtemp(dir=scratch)) / "daemon"
    table = {"url": proxy.url, "pull": {"patience": PATIENCE, **pull}}
    return Daemon(directory, containerd.address, {UPSTREAM: table})


@pytest.fixture
def daemon(scratch: Path, containerd: Containerd, proxy: Proxy) -> Iterator[Daemon]:
    """A daemon that pulls through, and asks again each time what a tag means."""
    with _daemon(scratch, containerd, proxy, tags=0.0) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def there(upstream: Registry) -> Wire:
    """Requests to the upstream itself."""
    return Wire(upstream.url)


@pytest.fixture
def repository() -> str:
    return f"team/{secrets.token_hex(6)}"


def image(there: Wire, repository: str, *layers: bytes, tag: str = "v1") -> tuple[str, bytes]:
    """An image upstream: its digest and its manifest."""
    config = secrets.token_bytes(100)
    raw = manifest(config, *layers)
    for blob in (config, *layers):
        there.push_blob(repository, blob)
    assert there.push_manifest(repository, tag, raw).status == 201
    return digest_of(raw), raw


def blob(wire: Wire, repository: str, digest: str, **headers: str) -> Answer:
    return wire.ask("GET", f"/v2/{repository}/blobs/{digest}", headers=headers)


def tagged(wire: Wire, repository: str, reference: str = "v1", method: str = "GET") -> Answer:
    return wire.ask(method, f"/v2/{repository}/manifests/{reference}")


def read(answer: HTTPResponse) -> bytes:
    with closing(answer):
        return answer.read()


@pytest.mark.parametrize("size", [0, 1, 100, 5 * MIB + 17])
def test_a_cold_blob(wire: Wire, there: Wire, proxy: Proxy, repository: str, size: int) -> None:
    """It comes whole, and is here from then on."""
    data = secrets.token_bytes(size)
    digest = there.push_blob(repository, data)
    cold = blob(wire, repository, digest)
    assert (cold.status, cold.body, cold.headers["X-Cache"]) == (200, data, "miss")
    assert cold.headers["Content-Length"] == str(size)
    assert cold.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    warm = blob(wire, repository, digest)
    assert (warm.status, warm.body, warm.headers["X-Cache"]) == (200, data, "hit")
    assert len(proxy.seen("GET", BLOBS)) == 1


def test_a_part_of_a_cold_blob(wire: Wire, there: Wire, repository: str) -> None:
    """As of any other one."""
    data = secrets.token_bytes(3 * MIB)
    digest = there.push_blob(repository, data)
    part = blob(wire, repository, digest, Range="bytes=2000000-2000009")
    assert (part.status, part.body) == (206, data[2_000_000:2_000_010])


@pytest.mark.parametrize("reference", ["tag", "digest"])
def test_a_cold_manifest(wire: Wire, there: Wire, proxy: Proxy, repository: str, reference: str) -> None:
    """Byte for byte, by tag and by digest; a HEAD says what it will be."""
    digest, raw = image(there, repository, b"layer")
    name = "v1" if reference == "tag" else digest
    asked = tagged(wire, repository, name, "HEAD")
    got = tagged(wire, repository, name)
    for answer in (asked, got):
        assert answer.status == 200, answer
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Length"] == str(len(raw))
        assert answer.headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
    assert got.body == raw
    assert len(proxy.seen("GET", "/manifests/")) == 1


def test_nothing_of_the_caller_goes_on(wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
    """What he shows of himself is for us."""
    digest = there.push_blob(repository, b"data")
    shown = {"Authorization": "Bearer secret", "Cookie": "secret"}
    assert wire.ask("GET", f"/v2/{repository}/blobs/{digest}", headers=shown).body == b"data"
    (request,) = proxy.seen("GET", BLOBS)
    assert not {"Authorization", "Cookie"} & set(request.headers)


def test_what_is_nowhere(wire: Wire, repository: str) -> None:
    """As without an upstream."""
    assert blob(wire, repository, digest_of(b"nowhere")).code == "BLOB_UNKNOWN"
    for reference in ("v1", digest_of(b"nowhere")):
        for method in ("GET", "HEAD"):
            answer = tagged(wire, repository, reference, method)
            assert answer.status == 404
            assert method == "HEAD" or answer.code == "MANIFEST_UNKNOWN"


def test_a_blob_of_another_repository(wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
    """That it is here is not enough: it has to be this one's upstream. Then it need not come again."""
    digest = there.push_blob(repository, b"data")
    assert blob(wire, repository, digest).status == 200
    assert blob(wire, f"{repository}/other", digest).code == "BLOB_UNKNOWN"
    there.push_blob(f"{repository}/other", b"data")
    fetched = len(proxy.seen("GET", BLOBS))
    assert blob(wire, f"{repository}/other", digest).body == b"data"
    assert len(proxy.seen("GET", BLOBS)) == fetched


@pytest.mark.slow
def test_many_at_once(wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
    """Each part of an image is asked of the upstream once, and all get its first bytes while the rest is to come."""
    layers = [secrets.token_bytes(100_000_000) for _ in range(2)]
    image(there, repository, *layers)
    with ThreadPoolExecutor(READERS) as pool:
        (raw,) = set(pool.map(lambda _: tagged(wire, repository).body, range(READERS)))
        config = json.loads(raw)["config"]["digest"]
        assert {answer.status for answer in pool.map(lambda _: blob(wire, repository, config), range(READERS))} == {200}
        for data in layers:
            _read_together(pool, wire, proxy, repository, data)
    assert len(proxy.seen("GET", "/manifests/")) == 1
    assert len(proxy.seen("GET", BLOBS)) == 1 + len(layers)


def _read_together(pool: ThreadPoolExecutor, wire: Wire, proxy: Proxy, repository: str, data: bytes) -> None:
    """All of them read a layer, of which the upstream sends one half, and the other when all have some of it."""
    digest, released = digest_of(data), Event()
    proxy.arm(HoldAnswer(len(data) // 2, released), "GET", digest)
    answers = list(pool.map(lambda _: wire.stream(f"/v2/{repository}/blobs/{digest}", {}), range(READERS)))
    assert list(pool.map(lambda answer: answer.read(MIB), answers)) == [data[:MIB]] * READERS
    released.set()
    assert set(pool.map(lambda answer: digest_of(data[:MIB] + read(answer)), answers)) == {digest}


def test_a_client_that_leaves(wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
    """Others that read along go on."""
    data = secrets.token_bytes(8 * MIB)
    digest = there.push_blob(repository, data)
    released = Event()
    proxy.arm(HoldAnswer(4 * MIB, released), "GET", BLOBS)
    leaving, staying = [wire.stream(f"/v2/{repository}/blobs/{digest}", {}) for _ in range(2)]
    for answer in (leaving, staying):
        assert answer.read(MIB) == data[:MIB]
    leaving.close()
    released.set()
    assert read(staying) == data[MIB:]
    assert len(proxy.seen("GET", BLOBS)) == 1


def test_all_clients_leave(wire: Wire, there: Wire, proxy: Proxy, repository: str, held: Callable[[], Held]) -> None:
    """Then there is nobody to fetch it for: nothing stays, and whoever comes next gets it all the same."""
    data = secrets.token_bytes(8 * MIB)
    digest = there.push_blob(repository, data)
    before = held()
    released = Event()
    proxy.arm(HoldAnswer(4 * MIB, released), "GET", BLOBS)
    leaving = wire.stream(f"/v2/{repository}/blobs/{digest}", {})
    assert leaving.read(MIB) == data[:MIB]
    leaving.close()
    until(lambda: held() <= before, "nothing of it is left")
    released.set()
    assert blob(wire, repository, digest).body == data


@pytest.mark.parametrize("how", ["other bytes", "short", "other digest", "broken"])
def test_a_lying_upstream(
    wire: Wire, there: Wire, proxy: Proxy, repository: str, how: str, held: Callable[[], Held]
) -> None:
    """Nobody gets all of it, and nothing of it is kept; asked again, it may tell the truth."""
    data = secrets.token_bytes(2 * MIB)
    digest = there.push_blob(repository, data)
    before = held()
    faults: dict[str, Fault] = {
        "other bytes": Reply(200, body=bytes(len(data))),
        "short": CutAnswer(MIB),
        "other digest": Rewrite("Docker-Content-Digest", lambda _: digest_of(b"another")),
        "broken": Reply(500),
    }
    proxy.arm(faults[how], "GET", BLOBS)
    if how in {"other digest", "broken"}:
        assert blob(wire, repository, digest).status == 502
    else:
        with pytest.raises(IncompleteRead):
            read(wire.stream(f"/v2/{repository}/blobs/{digest}", {}))
    until(lambda: held() <= before, "nothing of it is left")
    assert blob(wire, repository, digest).body == data


def test_a_part_of_a_lie(wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
    """Not even that is whole before everything has been compared."""
    data = secrets.token_bytes(2 * MIB)
    digest = there.push_blob(repository, data)
    proxy.arm(Reply(200, body=bytes(len(data))), "GET", BLOBS)
    with pytest.raises(IncompleteRead):
        read(wire.stream(f"/v2/{repository}/blobs/{digest}", {"Range": "bytes=0-9"}))


@pytest.mark.parametrize("after", [0, MIB])
def test_a_hanging_upstream(wire: Wire, there: Wire, proxy: Proxy, repository: str, after: int) -> None:
    """It is given up, at its beginning as in its middle."""
    digest = there.push_blob(repository, secrets.token_bytes(2 * MIB))
    proxy.arm(StallAnswer(after), "GET", BLOBS)
    if after:
        with pytest.raises(IncompleteRead):
            read(wire.stream(f"/v2/{repository}/blobs/{digest}", {}))
    else:
        assert blob(wire, repository, digest).status == 502


@pytest.mark.parametrize("reference", ["v1", digest_of(b"manifest")])
def test_many_ask_a_hanging_upstream(wire: Wire, proxy: Proxy, repository: str, reference: str) -> None:
    """They are not made to wait one after the other."""
    proxy.arm(StallAnswer(), times=None)
    with ThreadPoolExecutor(READERS) as pool:
        answers = pool.map(lambda _: tagged(wire, repository, reference).status, range(READERS))
        assert set(answers) == {502}
    assert len(proxy.requests) <= 3  # what came when the first had ended


@pytest.mark.parametrize("how", ["other bytes", "other digest", "no manifest", "hanging"])
def test_a_lying_upstream_with_manifests(wire: Wire, there: Wire, proxy: Proxy, repository: str, how: str) -> None:
    """What it serves is compared, too; a HEAD says only that there is nothing to be had."""
    digest, raw = image(there, repository, b"layer")
    faults: dict[str, Fault] = {
        "other bytes": Reply(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, raw + b" "),
        "other digest": Rewrite("Docker-Content-Digest", lambda _: "sha256:other"),
        "no manifest": Reply(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, b"[]"),
        "hanging": StallAnswer(),
    }
    method = "HEAD" if how == "other digest" else "GET"
    proxy.arm(faults[how], method, "/manifests/")
    assert tagged(wire, repository).status == 502
    assert tagged(wire, repository).body == raw
    assert tagged(wire, repository, digest).body == raw


def test_a_refusal(wire: Wire, proxy: Proxy, repository: str) -> None:
    """Registries say so of what is not there: so do we."""
    proxy.arm(Reply(403), times=None)
    assert tagged(wire, repository).status == 404
    assert blob(wire, repository, digest_of(b"data")).status == 404


class TestTags:
    def test_they_move_with_the_upstreams(self, wire: Wire, there: Wire, repository: str) -> None:
        """Each time that it is asked."""
        for layer in (b"first", b"second"):
            digest, raw = image(there, repository, layer)
            assert tagged(wire, repository, method="HEAD").headers["Docker-Content-Digest"] == digest
            assert tagged(wire, repository).body == raw

    def test_they_last(self, scratch: Path, containerd: Containerd, there: Wire, proxy: Proxy, repository: str) -> None:
        """For as long as is set, the upstream is not asked, also after a restart."""
        with _daemon(scratch, containerd, proxy, tags=3600.0) as daemon:
            wire = Wire(daemon.url)
            digest, raw = image(there, repository, b"first")
            assert tagged(wire, repository).body == raw
            image(there, repository, b"second")
            asked = len(proxy.requests)
            assert tagged(wire, repository).headers["Docker-Content-Digest"] == digest
            daemon.kill()
            daemon.start()
            assert tagged(wire, repository).headers["Docker-Content-Digest"] == digest
            assert len(proxy.requests) == asked

    def test_upstream_away(self, wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
        """What is known here counts, and says that it may be out of date; what is not known cannot be had now."""
        digest, raw = image(there, repository, b"first")
        assert tagged(wire, repository).body == raw
        proxy.arm(Reply(503), times=None)
        for _ in range(5):  # more than it takes to give it up
            stale = tagged(wire, repository)
            assert (stale.status, stale.body, stale.headers["X-Cache"]) == (200, raw, "stale")
            assert stale.headers["Warning"].startswith("110 ")
            assert tagged(wire, repository, digest).headers["X-Cache"] == "hit"
            assert tagged(wire, repository, "v2").status == 502
            assert tagged(wire, repository, "v2", "HEAD").status == 404

    def test_one_that_is_gone_upstream(self, wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
        """Is gone here, too."""
        image(there, repository, b"first")
        assert tagged(wire, repository).status == 200
        proxy.arm(Reply(404), times=None)  # this registry cannot delete tags
        assert tagged(wire, repository).status == 404

    def test_one_on_its_way_there(self, wire: Wire, there: Wire, proxy: Proxy, daemon: Daemon, repository: str) -> None:
        """What was pushed here counts until the upstream has it, and then what that says."""
        image(there, repository, b"first")
        proxy.arm(Reply(503), "PUT", times=None)
        config = b"{}"
        wire.push_blob(repository, config)
        raw = manifest(config)
        assert wire.push_manifest(repository, "v1", raw).status == 201
        for method in ("GET", "HEAD"):
            assert tagged(wire, repository, method=method).headers["Docker-Content-Digest"] == digest_of(raw)
        assert not proxy.seen("HEAD", "/manifests/v1")
        proxy.disarm()
        daemon.wait(f"{repository}:v1", "replicated")
        third, _ = image(there, repository, b"third")
        assert tagged(wire, repository).headers["Docker-Content-Digest"] == third


class TestPushing:
    """Builders ask what is here, and push what is not: the upstream must not answer in our place."""

    def test_blobs(self, wire: Wire, there: Wire, repository: str) -> None:
        """A HEAD is about this host."""
        digest = there.push_blob(repository, b"data")
        assert wire.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 404

    def test_manifests(self, wire: Wire, there: Wire, repository: str) -> None:
        """After one for a blob, so is a HEAD for a manifest."""
        digest, _ = image(there, repository, b"layer")
        assert tagged(wire, repository, method="HEAD").status == 200
        wire.ask("HEAD", f"/v2/{repository}/blobs/{digest_of(b'layer')}")
        for reference in ("v1", digest):
            assert tagged(wire, repository, reference, "HEAD").status == 404
        assert tagged(wire, repository).status == 200

    def test_upstream_away(self, wire: Wire, proxy: Proxy, repository: str) -> None:
        """A push goes on as ever."""
        proxy.arm(Reply(500), times=None)
        data = secrets.token_bytes(100)
        assert wire.ask("HEAD", f"/v2/{repository}/blobs/{digest_of(data)}").status == 404
        wire.push_blob(repository, data)
        raw = manifest(data)
        assert tagged(wire, repository, "v1", "HEAD").status == 404
        assert wire.push_manifest(repository, "v1", raw).status == 201


class TestImages:
    """What was pulled whole is an image of the host, by its digest."""

    @pytest.fixture
    def layout(self, directory: Path) -> Layout:
        return build_image(
            directory / "layout", [busybox(directory.name), Layer([File("noise", secrets.token_bytes(100_000))])]
        )

    def pull(self, wire: Wire, repository: str, layout: Layout) -> None:
        assert tagged(wire, repository).body == layout.manifest
        for child in layout.children:
            assert digest_of(blob(wire, repository, child.digest).body) == child.digest

    def test_it_runs(
        self, wire: Wire, there: Wire, containerd: Containerd, repository: str, layout: Layout, directory: Path
    ) -> None:
        """And holds what it consists of, without a lease of ours."""
        before = containerd.leases()
        there.push(repository, "v1", layout)
        self.pull(wire, repository, layout)
        name = f"{UPSTREAM}/{repository}@{layout.digest}"
        until(lambda: containerd.images().get(name) == layout.digest, "it is an image")
        until(lambda: containerd.leases() <= before, "its leases have ended")
        containerd.collect_garbage()
        assert {child.digest for child in layout.children} <= containerd.contents()
        containerd.ctr("images", "mount", name, str(directory))
        containerd.ctr("images", "unmount", str(directory))

    def test_parts_of_it_are_here(
        self, wire: Wire, there: Wire, proxy: Proxy, containerd: Containerd, repository: str, layout: Layout
    ) -> None:
        """Nobody asks for those, as containerd would not; that the upstream has them is enough."""
        there.push(repository, "v1", layout)
        for child in layout.children:
            wire.push_blob(f"{repository}/other", layout.blob(child.digest).read_bytes())
        assert tagged(wire, repository).status == 200
        name = f"{UPSTREAM}/{repository}@{layout.digest}"
        until(lambda: name in containerd.images(), "it is an image")
        assert not proxy.seen("GET", BLOBS)

    def test_one_of_an_index(
        self, wire: Wire, there: Wire, containerd: Containerd, repository: str, layout: Layout, directory: Path
    ) -> None:
        """The index holds the one image of it that was pulled."""
        other = build_image(directory / "other", [Layer([File("other", directory.name.encode())])])
        for each in (layout, other):
            there.push(repository, each.digest, each)
        entries = [each.top.json() for each in (layout, other)]
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
        assert there.push_manifest(repository, "v1", index, OCI_INDEX).status == 201
        assert tagged(wire, repository).body == index
        name = f"{UPSTREAM}/{repository}@{digest_of(index)}"
        assert tagged(wire, repository, layout.digest).body == layout.manifest
        assert name not in containerd.images()
        for child in layout.children:
            assert blob(wire, repository, child.digest).status == 200
        until(lambda: name in containerd.images(), "it is an image")
        containerd.ctr("images", "rm", f"{UPSTREAM}/{repository}@{layout.digest}")
        containerd.collect_garbage()
        assert {layout.digest, *(child.digest for child in layout.children)} <= containerd.contents()

    def test_after_a_restart(
        self, wire: Wire, there: Wire, daemon: Daemon, containerd: Containerd, repository: str, layout: Layout
    ) -> None:
        """What was pulled in part is gone on with."""
        there.push(repository, "v1", layout)
        assert tagged(wire, repository).status == 200
        daemon.kill()
        daemon.start()
        self.pull(wire, repository, layout)
        until(lambda: f"{UPSTREAM}/{repository}@{layout.digest}" in containerd.images(), "it is an image")

    def test_eviction(
        self, wire: Wire, there: Wire, daemon: Daemon, containerd: Containerd, repository: str, layout: Layout
    ) -> None:
        """It goes like any other, and comes again."""
        before = containerd.leases()
        there.push(repository, "v1", layout)
        self.pull(wire, repository, layout)
        name = f"{UPSTREAM}/{repository}@{layout.digest}"
        until(lambda: name in containerd.images(), "it is an image")
        until(lambda: containerd.leases() <= before, "its leases have ended")
        done = daemon.cli("evict", "--all")
        assert done.returncode == 0, done.stderr
        assert name not in containerd.images()
        assert not {child.digest for child in layout.children} & containerd.contents()
        self.pull(wire, repository, layout)

    def test_nobody_brings_its_tag_upstream(
        self,
        wire: Wire,
        there: Wire,
        daemon: Daemon,
        upstream: Registry,
        containerd: Containerd,
        repository: str,
        layout: Layout,
    ) -> None:
        """A tag that somebody makes of it here is what the upstream said a while ago."""
        there.push(repository, "v1", layout)
        self.pull(wire, repository, layout)
        name = f"{UPSTREAM}/{repository}"
        until(lambda: f"{name}@{layout.digest}" in containerd.images(), "it is an image")
        containerd.ctr("images", "tag", f"{name}@{layout.digest}", f"{name}:v1")
        second, _ = image(there, repository, b"second")
        assert daemon.cli("check", "--repair").returncode == 0
        stored = upstream.manifest(repository, "v1")
        assert stored is not None
        assert stored.digest == second
        with closing(sqlite3.connect(daemon.directory / "journal.db")) as journal:
            assert journal.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


class TestBorrowing:
    """What only the upstream has need not be pushed."""

    @pytest.fixture
    def daemon(self, scratch: Path, containerd: Containerd, proxy: Proxy) -> Iterator[Daemon]:
        with _daemon(scratch, containerd, proxy, tags=0.0, borrow=True) as daemon:
            yield daemon
        assert not daemon.complaints()

    def mount(self, wire: Wire, repository: str, digest: str, source: str) -> Answer:
        return wire.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}")

    def test_a_mount(
        self, wire: Wire, there: Wire, proxy: Proxy, daemon: Daemon, containerd: Containerd, repository: str
    ) -> None:
        """The builder is told at once; the manifest waits for it; upstream it is mounted, too."""
        base, config = secrets.token_bytes(2 * MIB), secrets.token_bytes(100)
        digest = there.push_blob(f"{repository}/base", base)
        released = Event()
        proxy.arm(HoldAnswer(MIB, released), "GET", BLOBS)
        assert self.mount(wire, repository, digest, f"{repository}/base").status == 201
        assert wire.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200
        wire.push_blob(repository, config)
        with ThreadPoolExecutor(1) as pool:
            put = pool.submit(wire.push_manifest, repository, "v1", manifest(config, base))
            released.set()
            assert put.result().status == 201
        assert containerd.content(digest) == base
        daemon.wait(f"{repository}:v1", "replicated")
        asked = [post for post in proxy.seen("POST", f"/{repository}/blobs/uploads/") if digest in unquote(post.target)]
        assert [post.status for post in asked] == [201]

    def test_a_question(self, wire: Wire, there: Wire, containerd: Containerd, repository: str) -> None:
        """A builder that asks for a blob of its own repository is told that it need not push it."""
        base, config = secrets.token_bytes(MIB), secrets.token_bytes(100)
        digest = there.push_blob(repository, base)
        asked = wire.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        assert (asked.status, asked.headers["Content-Length"]) == (200, str(len(base)))
        wire.push_blob(repository, config)
        assert wire.push_manifest(repository, "v1", manifest(config, base)).status == 201
        assert containerd.content(digest) == base

    def test_one_that_does_not_come(self, wire: Wire, there: Wire, proxy: Proxy, repository: str) -> None:
        """The manifest is refused, and the builder has to push it."""
        base, config = secrets.token_bytes(2 * MIB), secrets.token_bytes(100)
        digest = there.push_blob(f"{repository}/base", base)
        proxy.arm(CutAnswer(MIB), "GET", BLOBS)
        assert self.mount(wire, repository, digest, f"{repository}/base").status == 201
        wire.push_blob(repository, config)
        raw = manifest(config, base)
        assert wire.push_manifest(repository, "v1", raw).code == "MANIFEST_BLOB_UNKNOWN"
        wire.push_blob(repository, base)
        assert wire.push_manifest(repository, "v1", raw).status == 201

    def test_one_that_is_nowhere(self, wire: Wire, repository: str) -> None:
        """Then it is an upload like any other."""
        digest = digest_of(b"nowhere")
        assert self.mount(wire, repository, digest, f"{repository}/base").status == 202
        assert wire.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 404
