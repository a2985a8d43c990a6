"""Repository names, tags, digests and image names."""

import hashlib
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.errors import RegistryError
from mirror.oci.names import (
    Digest,
    Reference,
    Repository,
    digest_of,
    parse_digest,
    parse_path,
    parse_reference,
    split_image,
)

HEX = "0123456789abcdef"
DIGEST = "sha256:" + HEX * 4
DEFAULT = "registry.example.com"
REGISTRIES = frozenset({DEFAULT, "localhost:5001"})

words = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
separators = st.sampled_from([".", "_", "__", "-", "---"])


@st.composite
def components(draw: st.DrawFn) -> str:
    """One segment of a path: words with a separator between each two."""
    rest = draw(st.lists(st.tuples(separators, words), max_size=3))
    return draw(words) + "".join(separator + word for separator, word in rest)


paths = st.lists(components(), min_size=1, max_size=5).map("/".join).filter(lambda path: len(path) <= 255)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
digests = st.text(HEX, min_size=64, max_size=64).map("sha256:".__add__)


@given(paths)
def test_every_path_of_the_grammar_is_a_name(path: str) -> None:
    """What the distribution spec's grammar generates is accepted unchanged."""
    assert parse_path(path) == path


@given(tags)
def test_every_tag_of_the_grammar_is_a_reference(tag: str) -> None:
    """Tags are accepted unchanged, and are no digests."""
    reference = parse_reference(tag)
    assert (reference.tag, reference.digest, str(reference)) == (tag, None, tag)


@given(digests)
def test_every_sha256_digest_is_a_reference(digest: str) -> None:
    """Digests are accepted unchanged, and are no tags."""
    reference = parse_reference(digest)
    assert (reference.tag, reference.digest, str(reference)) == (None, digest, digest)
    assert parse_digest(digest) == digest


@given(st.text(max_size=300))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever text arrives is either taken unchanged or refused as a RegistryError, never anything else."""
    for parse in (parse_path, parse_reference, parse_digest):
        with suppress(RegistryError):
            assert str(parse(text)) == text


def test_the_longest_names() -> None:
    """255 characters of path and 128 of tag are the most."""
    assert parse_path("a" * 255)
    assert parse_reference("t" * 128)
    with pytest.raises(RegistryError, match="NAME_INVALID"):
        parse_path("a" * 256)
    with pytest.raises(RegistryError, match="tag invalid"):
        parse_reference("t" * 129)


MALFORMED_PATHS = {
    "empty": "",
    "upper case": "Team/app",
    "traversal": "../app",
    "traversal inside": "team/../app",
    "dot segment": "team/./app",
    "leading slash": "/app",
    "trailing slash": "app/",
    "double slash": "team//app",
    "leading dot": ".app",
    "trailing dash": "app-",
    "two dots": "a..b",
    "three underscores": "a___b",
    "mixed separators": "a._b",
    "tag": "app:v1",
    "space": "my app",
    "trailing newline": "app\n",
    "nul": "app\0",
    "percent": "app%2f..",
    "backslash": "team\\app",
    "unicode letter": "äpp",
    "unicode digit": "app\u0663",
}


@pytest.mark.parametrize("path", MALFORMED_PATHS.values(), ids=MALFORMED_PATHS)
def test_a_malformed_path_is_refused(path: str) -> None:
    """Nothing outside the grammar becomes a repository."""
    with pytest.raises(RegistryError, match="NAME_INVALID"):
        parse_path(path)


MALFORMED_TAGS = {
    "empty": "",
    "leading dot": ".v1",
    "leading dash": "-v1",
    "slash": "v1/x",
    "at": "v1@x",
    "space": "v 1",
    "trailing newline": "v1\n",
    "unicode digit": "v\u0661",
    "unicode letter": "versión",
}


@pytest.mark.parametrize("tag", MALFORMED_TAGS.values(), ids=MALFORMED_TAGS)
def test_a_malformed_tag_is_refused(tag: str) -> None:
    """Nothing outside the grammar becomes a tag."""
    with pytest.raises(RegistryError, match="tag invalid"):
        parse_reference(tag)


MALFORMED_DIGESTS = {
    "empty hex": "sha256:",
    "short": DIGEST[:-1],
    "long": DIGEST + "0",
    "upper-case hex": DIGEST.upper().replace("SHA256", "sha256"),
    "upper-case algorithm": DIGEST.replace("sha256", "SHA256"),
    "no hex": "sha256:" + "g" * 64,
    "sha512": "sha512:" + HEX * 8,
    "sha512 hex as sha256": "sha256:" + HEX * 8,
    "unknown algorithm": "md5:" + "0" * 32,
    "traversal": "sha256:../" + "0" * 61,
    "trailing newline": DIGEST + "\n",
    "unicode digit": "sha256:" + "\u0663" * 64,
    "two colons": "sha256:" + DIGEST,
}


@pytest.mark.parametrize("digest", MALFORMED_DIGESTS.values(), ids=MALFORMED_DIGESTS)
def test_a_malformed_digest_is_refused(digest: str) -> None:
    """Only lower-case sha256 exists, as a digest and as a reference."""
    for parse in (parse_digest, parse_reference):
        with pytest.raises(RegistryError, match="DIGEST_INVALID"):
            parse(digest)


def test_a_refusal_does_not_echo_without_end() -> None:
    """The detail of a refusal shows no more of the input than a name may be long."""
    for parse in (parse_path, parse_digest, parse_reference):
        with pytest.raises(RegistryError) as refusal:
            parse("!" * 100_000)
        assert len(refusal.value.detail) < 300


def test_digest_of_bytes() -> None:
    """The digest is sha256 over exactly the bytes given."""
    assert digest_of(b"{ }") == "sha256:" + hashlib.sha256(b"{ }").hexdigest()


TAGGED = Reference(tag="v1", digest=None)
LATEST = Reference(tag="latest", digest=None)
PINNED = Reference(tag=None, digest=Digest(DIGEST))


@pytest.mark.parametrize(
    ("image", "repository", "reference"),
    [
        ("app", Repository(DEFAULT, "app"), LATEST),
        ("app:v1", Repository(DEFAULT, "app"), TAGGED),
        ("team/app:v1", Repository(DEFAULT, "team/app"), TAGGED),
        (f"{DEFAULT}/app:v1", Repository(DEFAULT, "app"), TAGGED),
        ("localhost:5001/app", Repository("localhost:5001", "app"), LATEST),
        ("localhost:5001/team/app:v1", Repository("localhost:5001", "team/app"), TAGGED),
        (f"localhost:5001/app@{DIGEST}", Repository("localhost:5001", "app"), PINNED),
        (f"app@{DIGEST}", Repository(DEFAULT, "app"), PINNED),
        (f"team/app:v1@{DIGEST}", Repository(DEFAULT, "team/app"), PINNED),
        ("other.example.com/app", Repository(DEFAULT, "other.example.com/app"), LATEST),
    ],
)
def test_an_image_name_as_people_type_it(image: str, repository: Repository, reference: Reference) -> None:
    """Registry, path and reference are found; a digest wins over a tag beside it."""
    assert split_image(image, REGISTRIES, DEFAULT) == (repository, reference)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "App",
        "app:",
        "app:-v1",
        "localhost:5001/",
        f"@{DIGEST}",
        "app@sha256:0",
        f"app:-v1@{DIGEST}",
        f"app:@{DIGEST}",
        "unknown:5000/app",
    ],
)
def test_a_malformed_image_name_is_refused(image: str) -> None:
    """No part of a name goes unchecked, the tag beside a digest neither."""
    with pytest.raises(RegistryError):
        split_image(image, REGISTRIES, DEFAULT)


@given(paths, st.one_of(tags, digests))
def test_an_image_name_and_its_parts_say_the_same(path: str, reference: str) -> None:
    """The containerd image name of a repository and reference is read back as just these."""
    repository, parsed = Repository("localhost:5001", path), parse_reference(reference)
    assert split_image(repository.image(parsed), REGISTRIES, DEFAULT) == (repository, parsed)
