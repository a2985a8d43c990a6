"""What a manifest must be like, and whose word it takes: refusals, and that nothing of them is left."""

import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.http.conftest import Held
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.verifier import VerifyCommand
from tests.rig.wire import Answer, Wire, digest_of, manifest

REPOSITORY = "team/app"
CONFIG, LAYER, LARGE = b'{"a": "config"}', b"a layer", b"a layer that is a bit too large"
OCI = MEDIA["oci"]
SIGNED = {"org.example.signed": "yes"}
REQUIRED = {
    "media_types": [OCI.manifest, OCI.index],
    "blob_media_types": ["application/vnd.example.config", "application/vnd.example.layer"],
    "layers": 3,
    "layer_bytes": len(LAYER),
    "image_bytes": len(CONFIG) + len(LAYER),
    "annotations": {"org.example.signed": ""},
}


@pytest.fixture(scope="module")
def verifier(scratch: Path) -> VerifyCommand:
    """Who is asked."""
    return VerifyCommand(Path(tempfile.mkdtemp(dir=scratch)) / "verifier")


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd, upstream: Registry, verifier: VerifyCommand) -> Iterator[Daemon]:
    """A daemon that takes little."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    settings: dict[str, dict[str, object]] = {
        "verify": {**REQUIRED, "command": verifier.argv, "timeout": 60.0},
        "identity": {"networks": {"127.0.0.1/32": "acme"}},
        "rules": {"all": {"actions": ["pull", "push", "delete", "status"]}},
    }
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture(autouse=True)
def blobs(wire: Wire, verifier: VerifyCommand) -> None:
    """All that is named here is pushed, and who is asked allows everything."""
    for blob in (CONFIG, LAYER, LARGE):
        wire.push_blob(REPOSITORY, blob)
    verifier.answer("exit 0")
    verifier.asked()


def signed(raw: bytes, **more: object) -> bytes:
    """A manifest with the annotation that is wanted."""
    return json.dumps(json.loads(raw) | {"annotations": SIGNED} | more).encode()


GOOD = signed(manifest(CONFIG, LAYER))
_EXECUTABLE = {"mediaType": "application/x-executable", "digest": digest_of(LAYER), "size": len(LAYER)}


def _index(media_type: str, *listed: bytes) -> bytes:
    entries = [{"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)} for raw in listed]
    return signed(json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": entries}).encode())


@pytest.mark.parametrize(
    ("raw", "media_type", "words"),
    [
        (signed(manifest(CONFIG, LAYER, media_type="application/x")), "application/x", "'application/x' are not taken"),
        (signed(GOOD, layers=[_EXECUTABLE]), OCI.manifest, "'application/x-executable', which is not taken"),
        (signed(manifest(CONFIG, *[LAYER] * 4)), OCI.manifest, "4 layers are more than 3"),
        (signed(manifest(CONFIG, LARGE)), OCI.manifest, f"has {len(LARGE)} bytes, more than {len(LAYER)}"),
        (signed(manifest(CONFIG + b" ", LAYER)), OCI.manifest, "bytes altogether are more than"),
        (manifest(CONFIG, LAYER), OCI.manifest, "'org.example.signed' is missing"),
    ],
)
def test_what_is_not_taken(
    raw: bytes,
    media_type: str,
    words: str,
    wire: Wire,
    held: Callable[[], Held],
    containerd: Containerd,
    verifier: VerifyCommand,
) -> None:
    """It is denied with the reason; nobody is asked, and no content, lease or image record stays."""
    before, images = held(), containerd.images()
    answer = wire.push_manifest(REPOSITORY, "bad", raw, media_type)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert words in answer.error["detail"]
    assert held() <= before
    assert containerd.images() == images
    assert verifier.asked() == []


def test_who_is_asked_hears_everything(wire: Wire, verifier: VerifyCommand) -> None:
    """What is pushed, where to and by whom; and the very bytes."""
    assert wire.push_manifest(REPOSITORY, "v1", GOOD).status == 201
    assert verifier.asked() == [
        {
            "registry": UPSTREAM,
            "repository": REPOSITORY,
            "references": ["v1"],
            "digest": digest_of(GOOD),
            "media_type": OCI.manifest,
            "principal": "network:127.0.0.1/32",
            "tenant": "acme",
            "manifest": GOOD.decode(),
        }
    ]


@pytest.mark.parametrize(
    ("said", "expected", "event"),
    [
        ("echo no signature; exit 1", (403, "DENIED", "no signature"), ("push.refused", "no signature")),
        ("echo no key >&2; exit 7", (503, "UNAVAILABLE", None), ("push.undecided", "ended with 7: no key")),
    ],
)
def test_what_is_refused(  # noqa: PLR0913, PLR0917 - what is said, and all that could be left of the push
    said: str,
    expected: tuple[int, str, str | None],
    event: tuple[str, str],
    wire: Wire,
    held: Callable[[], Held],
    containerd: Containerd,
    daemon: Daemon,
    verifier: VerifyCommand,
) -> None:
    """The reason of a no is for the client, that of no answer for the log alone; nothing of the manifest is left."""
    raw = signed(GOOD, about=said)
    verifier.answer(said)
    before, images = held(), containerd.images()
    answer = wire.push_manifest(REPOSITORY, "v2", raw)
    assert (answer.status, answer.code, answer.error["detail"]) == expected
    assert ("Retry-After" in answer.headers) == (answer.status == 503)
    assert held() <= before
    assert containerd.images() == images
    logged = [line for line in daemon.log_lines() if line.get("digest") == digest_of(raw)]
    assert [line["event"] for line in logged] == [event[0]]
    assert event[1] in logged[0]["reason"]
    assert (logged[0]["repository"], logged[0]["references"]) == (f"{UPSTREAM}/{REPOSITORY}", ["v2"])
    verifier.answer("exit 0")
    assert wire.push_manifest(REPOSITORY, "v2", raw).status == 201


@pytest.mark.parametrize("allowed", [True, False])
def test_several_tags_are_one_question(
    wire: Wire, containerd: Containerd, verifier: VerifyCommand, *, allowed: bool
) -> None:
    """All references are in it, and the answer is for all: either every record is made, or none."""
    raw = signed(GOOD, about=f"tags {allowed}")
    verifier.answer(f"exit {int(not allowed)}")
    answer = wire.push_manifest(REPOSITORY, f"{digest_of(raw)}?tag=a{allowed}&tag=b{allowed}", raw)
    assert answer.status == (201 if allowed else 403)
    references = [digest_of(raw), f"a{allowed}", f"b{allowed}"]
    assert [question["references"] for question in verifier.asked()] == [references]
    assert [digest for digest in containerd.images().values() if digest == digest_of(raw)] == [digest_of(raw)] * (
        3 * allowed
    )


def test_an_incomplete_image_is_nobodys_question(wire: Wire, verifier: VerifyCommand) -> None:
    """Whoever is asked finds what the manifest names: else it is refused before."""
    answer = wire.push_manifest(REPOSITORY, "v3", signed(manifest(CONFIG, b"absent")))
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert verifier.asked() == []


def test_an_index_lists_only_what_was_let_in(wire: Wire, containerd: Containerd, verifier: VerifyCommand) -> None:
    """Not what was never pushed, nor what was pushed as a blob or as another type: nobody would have looked at that."""
    child = signed(GOOD, about="a child")
    index = _index(OCI.manifest, child)
    for pushed in ("nothing", "blob"):
        if pushed == "blob":
            wire.push_blob(REPOSITORY, child)
        answer = wire.push_manifest(REPOSITORY, "index", index, OCI.index)
        assert (answer.status, answer.code) == (403, "DENIED")
        assert f"{digest_of(child)} is listed, but was not pushed" in answer.error["detail"]
    assert verifier.asked() == []
    assert wire.push_manifest(REPOSITORY, digest_of(child), child).status == 201
    assert wire.push_manifest(REPOSITORY, "index", _index(MEDIA["docker"].manifest, child), OCI.index).status == 403
    assert wire.push_manifest(REPOSITORY, "index", index, OCI.index).status == 201
    assert containerd.images()[f"{UPSTREAM}/{REPOSITORY}:index"] == digest_of(index)


def test_others_do_not_wait_for_an_answer(
    wire: Wire, daemon: Daemon, containerd: Containerd, verifier: VerifyCommand, tmp_path: Path
) -> None:
    """While somebody thinks about one push, images are evicted and others are pushed."""
    assert _push(wire, "old").status == 201
    daemon.wait(f"{REPOSITORY}:old", "replicated")
    thinks = f"touch {tmp_path}/thinks; until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    verifier.answer(f"""tail -n 1 "$1/asked" | grep -qF '["slow"]' && {{ {thinks}; }}; exit 0""")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(_push, wire, "slow")
        until((tmp_path / "thinks").exists, "somebody is asked")
        until(lambda: _evicted(daemon, containerd), "the old image goes")
        assert _push(wire, "fast").status == 201
        assert not slow.done()
        (tmp_path / "go").touch()
        assert slow.result().status == 201


def _push(wire: Wire, tag: str) -> Answer:
    """Push an image with a layer of its own, as what no upload holds may go with another image."""
    wire.push_blob(REPOSITORY, CONFIG)
    wire.push_blob(REPOSITORY, tag.encode())
    return wire.push_manifest(REPOSITORY, tag, signed(manifest(CONFIG, tag.encode())))


def _evicted(daemon: Daemon, containerd: Containerd) -> bool:
    """Whether an image has gone now; it stays until its job is over."""
    assert daemon.cli("evict", "--all").returncode in {0, 1}
    return f"{UPSTREAM}/{REPOSITORY}:old" not in containerd.images()


def test_a_tag_that_others_make_is_nobodys_question(
    wire: Wire, daemon: Daemon, containerd: Containerd, verifier: VerifyCommand
) -> None:
    """The manifest was let in before, and whoever makes image records is root: it goes upstream."""
    raw = signed(GOOD, about="adopted")
    wire.push_manifest(REPOSITORY, "mine", raw)
    verifier.asked()
    verifier.answer("exit 1")
    containerd.ctr("images", "tag", f"{UPSTREAM}/{REPOSITORY}:mine", f"{UPSTREAM}/{REPOSITORY}:theirs")
    done = daemon.cli("check", "--repair")
    assert done.returncode == 0, done
    daemon.wait(f"{REPOSITORY}:theirs", "replicated")
    assert verifier.asked() == []
