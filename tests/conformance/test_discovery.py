"""Content discovery: tags, referrers, and the catalog where a setting opens it."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conformance.conftest import OTHER
from tests.conformance.repository import CONFIG, CONFIG_TYPE, OCI, Repository, descriptor, image, index, next_page
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import Answer, Wire, digest_of

TAGS = ["v2", "B", "a", "10", "2", "_", "A", "v10", "1"]
IN_ORDER = sorted(TAGS)
SUBJECT = image(note="the subject")
SBOM, SIGNATURE = "application/vnd.example.sbom+json", "application/vnd.example.signature"


# --- tags ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tagged(repository: Repository) -> Repository:
    """A repository with `TAGS`, pushed in no order, and an image that has no tag."""
    repository.push(image(), *TAGS)
    repository.push(image(note="untagged"))
    return repository


def _tags(answer: Answer, repository: Repository) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "application/json"), answer
    listed: dict[str, Any] = json.loads(answer.body)
    assert listed == {"name": repository.name, "tags": listed["tags"]}
    tags: list[str] = listed["tags"]
    return tags


def test_all_tags(tagged: Repository) -> None:
    """The list is a JSON object of name and tags, every tag once, in ASCII order, and there is no next page."""
    answer = tagged.ask("GET", "tags/list")
    assert _tags(answer, tagged) == IN_ORDER
    assert next_page(answer) is None


def test_no_tags(repository: Repository) -> None:
    """A repository of which only the digests are known has an empty list, which is no null."""
    repository.push(image())
    assert _tags(repository.ask("GET", "tags/list"), repository) == []


def test_tags_of_an_unknown_repository(repository: Repository) -> None:
    """A repository that nobody pushed to is 404."""
    answer = repository.ask("GET", "tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=1", IN_ORDER[:1]),
        ("n=4", IN_ORDER[:4]),
        (f"n={len(TAGS)}", IN_ORDER),
        ("n=1000", IN_ORDER),
        ("n=2&last=10", IN_ORDER[2:4]),
        ("last=A&n=3", IN_ORDER[4:7]),
        ("last=A", IN_ORDER[4:]),
        (f"last={IN_ORDER[-1]}", []),
        ("n=2&last=11", IN_ORDER[2:4]),
        ("n=2&last=zzz", []),
    ],
)
def test_some_tags(query: str, expected: Sequence[str], tagged: Repository) -> None:
    """`n` tags in order, after `last`, which is a tag and no number, whether or not there is such a tag."""
    assert _tags(tagged.ask("GET", f"tags/list?{query}"), tagged) == expected


@pytest.mark.parametrize("query", ["n=0", "n=0&last=A"])
def test_none_of_the_tags(query: str, tagged: Repository) -> None:
    """`n=0` is an empty list that leads nowhere."""
    answer = tagged.ask("GET", f"tags/list?{query}")
    assert (_tags(answer, tagged), next_page(answer)) == ([], None)


@pytest.mark.parametrize("number", ["-1", "one", "1.5", ""])
def test_a_number_of_tags_that_is_none(number: str, tagged: Repository) -> None:
    """What is no count of tags is 400, not the whole list."""
    assert tagged.ask("GET", f"tags/list?n={number}").status == 400


@pytest.mark.parametrize("size", [1, 2, 4, len(TAGS)])
def test_tags_page_by_page(size: int, tagged: Repository) -> None:
    """Following `Link` shows every tag once, in full pages, and ends with the last of them."""
    pages = [_tags(answer, tagged) for answer in _pages(tagged.wire, tagged.path(f"tags/list?n={size}"))]
    assert pages == [IN_ORDER[start : start + size] for start in range(0, len(TAGS), size)]


def test_pages_of_another_registry(repository: Repository) -> None:
    """The pages of a repository that is meant by `ns=` are that repository's to the last."""
    namespace = urlencode({"ns": OTHER})
    repository.ask("POST", f"blobs/uploads/?digest={digest_of(CONFIG)}&{namespace}", CONFIG)
    beside = "&".join(f"tag={tag}" for tag in TAGS)
    repository.put(f"{digest_of(image())}?{beside}&{namespace}", image())
    pages = _pages(repository.wire, repository.path(f"tags/list?{namespace}&n=4"))
    assert [tag for answer in pages for tag in _tags(answer, repository)] == IN_ORDER


def _pages(wire: Wire, path: str | None) -> Iterator[Answer]:
    """A page and all that its `Link` leads to."""
    while path:
        answer = wire.ask("GET", path)
        yield answer
        path = next_page(answer)


# --- referrers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def subject(repository: Repository) -> dict[str, object]:
    """The descriptor of an image that others can refer to."""
    repository.push(SUBJECT)
    return descriptor(SUBJECT)


def _referrers(repository: Repository, query: str = "") -> list[dict[str, Any]]:
    answer = repository.ask("GET", f"referrers/{digest_of(SUBJECT)}{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI.index), answer
    document = json.loads(answer.body)
    assert document == {"schemaVersion": 2, "mediaType": OCI.index, "manifests": document["manifests"]}
    manifests: list[dict[str, Any]] = document["manifests"]
    return manifests


@pytest.mark.parametrize("annotations", [{}, {"org.example.format": "json", "org.example.note": "\u00e9"}])
@pytest.mark.parametrize(
    ("media_type", "fields", "artifact_type"),
    [
        (OCI.manifest, {"artifactType": SBOM}, {"artifactType": SBOM}),
        (OCI.manifest, {"artifactType": ""}, {"artifactType": CONFIG_TYPE}),
        (OCI.manifest, {}, {"artifactType": CONFIG_TYPE}),
        (OCI.index, {"artifactType": SBOM}, {"artifactType": SBOM}),
        (OCI.index, {"artifactType": ""}, {}),
        (OCI.index, {}, {}),
    ],
)
def test_a_referrer(
    media_type: str,
    fields: dict[str, str],
    artifact_type: dict[str, str],
    annotations: dict[str, str],
    subject: dict[str, object],
    repository: Repository,
) -> None:
    """Its descriptor has the artifact type, for images else the config's type, and the annotations; no more."""
    make = image if media_type == OCI.manifest else index
    raw = make(subject=subject, annotations=annotations, **fields)
    repository.push(raw, media_type=media_type)
    (listed,) = _referrers(repository)
    assert listed.pop("annotations", {}) == annotations
    assert listed == descriptor(raw, media_type) | artifact_type


def test_every_referrer_once(subject: dict[str, object], repository: Repository) -> None:
    """All manifests with the subject are listed, each once however often it was pushed, and no others."""
    pushed = [image(subject=subject, note=number) for number in range(3)]
    for raw in pushed:
        repository.push(raw, digest_of(raw), "v1", "v2")
    repository.push(image(subject=descriptor(image(note="another subject"))))
    repository.sibling.push(image(subject=subject, note="in another repository"))
    listed = [referrer["digest"] for referrer in _referrers(repository)]
    assert sorted(listed) == sorted(map(digest_of, pushed))


def test_a_referrer_of_what_is_not_there_yet(repository: Repository) -> None:
    """Referrers are listed whether or not anybody has pushed their subject."""
    raw = image(subject=descriptor(SUBJECT))
    repository.push(raw)
    assert [referrer["digest"] for referrer in _referrers(repository)] == [digest_of(raw)]
    repository.push(SUBJECT)
    assert [referrer["digest"] for referrer in _referrers(repository)] == [digest_of(raw)]


@pytest.mark.parametrize("pushed", [True, False])
def test_no_referrers(pushed: bool, repository: Repository) -> None:  # noqa: FBT001 - one of two worlds
    """Nothing that refers to a digest is an empty index, in an unknown repository too, and never 404."""
    if pushed:
        repository.push(SUBJECT)
    assert _referrers(repository) == []


@pytest.mark.parametrize("digest", ["v1", "sha256:short", "sha256:" + "G" * 64, "sha512:" + "0" * 128])
def test_referrers_of_no_digest(digest: str, repository: Repository) -> None:
    """What is no digest has no referrers: 400."""
    answer = repository.ask("GET", f"referrers/{digest}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(("artifact_type", "count"), [(SBOM, 2), (SIGNATURE, 1), (CONFIG_TYPE, 1), ("x/y", 0)])
def test_referrers_of_one_type(
    artifact_type: str, count: int, subject: dict[str, object], repository: Repository
) -> None:
    """The filter leaves those of the type, a type by way of the config included, and the answer says it was applied."""
    for number, kind in enumerate((SBOM, SBOM, SIGNATURE, "")):
        repository.push(image(subject=subject, artifactType=kind, note=number))
    repository.push(index(subject=subject), media_type=OCI.index)
    everything = f"referrers/{subject['digest']}"
    query = "?" + urlencode({"artifactType": artifact_type})
    assert [referrer["artifactType"] for referrer in _referrers(repository, query)] == [artifact_type] * count
    assert repository.ask("GET", everything + query).headers["OCI-Filters-Applied"] == "artifactType"
    assert "OCI-Filters-Applied" not in repository.ask("GET", everything).headers


def test_the_fallback_tag_of_older_clients(subject: dict[str, object], repository: Repository) -> None:
    """What a client lists in the fallback tag of a subject is a referrer by its own push; the tag is like any other."""
    referrer = image(subject=subject, artifactType=SBOM)
    repository.push(referrer)
    listing = index(manifests=[descriptor(referrer)])
    tag = digest_of(SUBJECT).replace(":", "-")
    repository.push(listing, tag, media_type=OCI.index)
    assert [listed["digest"] for listed in _referrers(repository)] == [digest_of(referrer)]
    assert repository.ask("GET", f"manifests/{tag}").body == listing


@pytest.mark.parametrize("tag", ["sha512-" + "a" * 64, "-".join(["test", *"abcdefghijklmn"]) + "-" + "Z" * 64])
def test_a_fallback_tag_of_another_algorithm(tag: str, repository: Repository) -> None:
    """Also where we know no such digest, the tag that clients make of it can be pushed and pulled."""
    repository.push(index(), tag, media_type=OCI.index)
    assert repository.ask("GET", f"manifests/{tag}").body == index()


# --- the catalog --------------------------------------------------------------------------------------------------


def test_the_catalog_is_closed(wire: Wire) -> None:
    """Names of repositories are not told unless a setting says so."""
    answer = wire.ask("GET", "/v2/_catalog")
    assert (answer.status, answer.code) == (403, "DENIED")


@pytest.fixture(scope="module")
def open_daemon(scratch: Path, containerd: Containerd, upstream: Registry) -> Iterator[Daemon]:
    """A daemon that shows its catalog."""
    directory, settings = Path(tempfile.mkdtemp(dir=scratch)), {"http": {"catalog": True}}
    with Daemon(directory, containerd.address, {UPSTREAM: upstream.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


def test_the_catalog_page_by_page(open_daemon: Daemon) -> None:
    """Where it is open it lists the repositories in order, `n` at a time, after `last`, with a `Link` to the next."""
    wire = Wire(open_daemon.url)
    names = ["catalog/a", "catalog/a/b", "catalog/c"]
    for name in reversed(names):
        Repository(wire, name).push(image(), "v1")
    pages = [json.loads(answer.body) for answer in _pages(wire, "/v2/_catalog?n=2&last=catalog")]
    assert pages == [{"repositories": names[:2]}, {"repositories": names[2:]}]
