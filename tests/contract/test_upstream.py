"""The client of the upstream against the real thing: Debian's docker-registry, open, with a login, and over TLS."""

import json
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.errors import UpstreamError
from mirror.core.ports import Upstream
from mirror.oci.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from mirror.oci.names import Repository, digest_of
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import Credentials
from tests.contract.upstreams import send_blob, transport_to
from tests.rig.registry import Registry
from tests.rig.web import Login

LOGIN = Login("builder", "pässword: 42")
MIB = 1 << 20


@pytest.fixture(scope="module", params=["open", "login", "tls"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    login = None if request.param == "open" else LOGIN
    with Registry(tmp_path_factory.mktemp("registry"), login=login, tls=request.param == "tls") as registry:
        yield registry


@asynccontextmanager
async def connected(registry: Registry, login: Login | None) -> AsyncIterator[Upstream]:
    """A client of the registry, with this login."""
    credentials = Credentials(login.username, login.password) if login else None
    tls = ssl.create_default_context(cafile=registry.ca_file) if registry.ca_file else None
    async with transport_to(registry.url, credentials=credentials, tls=tls) as transport:
        yield RegistryClient(transport)


@pytest.fixture
def repository() -> Repository:
    """A repository of this test alone."""
    return Repository("registry.example.com", f"team/{secrets.token_hex(8)}")


def blob_of(data: bytes) -> Descriptor:
    """The descriptor of a blob."""
    return Descriptor(digest=digest_of(data), size=len(data))


async def pieces(data: bytes, size: int = MIB) -> AsyncIterator[bytes]:
    """The data in pieces, as a content store reads it."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def upload(upstream: Upstream, repository: Repository, data: bytes) -> Descriptor:
    """Send a blob."""
    blob = blob_of(data)
    await send_blob(upstream, repository, blob, pieces(data))
    return blob


async def image(upstream: Upstream, repository: Repository, media_type: str = OCI_MANIFEST) -> bytes:
    """A manifest whose blobs are upstream; its spacing shows whether anybody re-wrote it."""
    config, layer = [await upload(upstream, repository, secrets.token_bytes(100)) for _ in range(2)]
    config_type = "application/vnd.docker.container.image.v1+json"
    layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": layer_type, "digest": layer.digest, "size": layer.size}],
    }
    return json.dumps(document, indent=5).encode() + b"\n"


class TestWithItsLogin:
    @pytest_asyncio.fixture
    async def upstream(self, registry: Registry) -> AsyncIterator[Upstream]:
        async with connected(registry, registry.login) as upstream:
            yield upstream

    @pytest.mark.parametrize("size", [0, 1, 5 * MIB + 17])
    async def test_a_blob_arrives(
        self, upstream: Upstream, registry: Registry, repository: Repository, size: int
    ) -> None:
        """It is not there before, it is afterwards, and its bytes are the very same."""
        data = secrets.token_bytes(size)
        assert not await upstream.has_blob(repository, blob_of(data))
        blob = await upload(upstream, repository, data)
        assert await upstream.has_blob(repository, blob)
        assert registry.blob(repository.path, blob.digest) == data

    async def test_the_same_blob_again(self, upstream: Upstream, repository: Repository) -> None:
        """Sending what is there is no error, so that an attempt after a crash is like any other."""
        data = secrets.token_bytes(100)
        for _ in range(2):
            blob = await upload(upstream, repository, data)
        assert await upstream.has_blob(repository, blob)

    async def test_a_blob_of_another_size(self, upstream: Upstream, repository: Repository) -> None:
        """The upstream's blob has another length than ours: no attempt will mend that."""
        blob = await upload(upstream, repository, b"data")
        with pytest.raises(UpstreamError, match="4 bytes there, 5 here") as refusal:
            await upstream.has_blob(repository, Descriptor(digest=blob.digest, size=5))
        assert not refusal.value.transient

    async def test_other_bytes_than_promised(self, upstream: Upstream, repository: Repository) -> None:
        """The upstream notices, says so in its words, and has neither."""
        blob = blob_of(b"data")
        with pytest.raises(UpstreamError, match="DIGEST_INVALID") as refusal:
            await send_blob(upstream, repository, blob, pieces(b"atad"))
        assert not refusal.value.transient
        assert not await upstream.has_blob(repository, blob)

    @pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
    async def test_a_manifest_arrives(
        self, upstream: Upstream, registry: Registry, repository: Repository, media_type: str
    ) -> None:
        """By digest and by tag, with its media type and byte for byte."""
        raw = await image(upstream, repository, media_type)
        for reference in (digest_of(raw), "v1"):
            assert await upstream.get_manifest(repository, reference, media_type) is None
            await upstream.put_manifest(repository, reference, media_type, raw)
            assert await upstream.get_manifest(repository, reference, media_type) == raw
        stored = registry.manifest(repository.path, "v1")
        assert stored is not None
        assert (stored.raw, stored.digest, stored.media_type) == (raw, digest_of(raw), media_type)

    async def test_a_tag_moves(self, upstream: Upstream, registry: Registry, repository: Repository) -> None:
        """The later manifest is what the tag means; the earlier one is still there by its digest."""
        first, second = await image(upstream, repository), await image(upstream, repository)
        for raw in (first, second):
            await upstream.put_manifest(repository, "v1", OCI_MANIFEST, raw)
        assert await upstream.get_manifest(repository, "v1", OCI_MANIFEST) == second
        assert await upstream.get_manifest(repository, digest_of(first), OCI_MANIFEST) == first
        assert registry.tags(repository.path) == {"v1"}

    async def test_a_manifest_before_its_blobs(self, upstream: Upstream, repository: Repository) -> None:
        """Refused for good, in the upstream's words: whoever sends it must send the blobs first."""
        missing = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"missing"), "size": 7}
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [missing]}).encode()
        with pytest.raises(UpstreamError, match="MANIFEST_BLOB_UNKNOWN") as refusal:
            await upstream.put_manifest(repository, "v1", OCI_INDEX, raw)
        assert not refusal.value.transient

    async def test_a_repository_that_does_not_exist(self, upstream: Upstream, repository: Repository) -> None:
        """It has nothing, and asking it is no error."""
        assert not await upstream.has_blob(repository, blob_of(b"data"))
        assert await upstream.get_manifest(repository, "v1", OCI_MANIFEST) is None


@pytest.mark.parametrize("login", [None, Login("builder", "wrong pässword"), Login("nobody", LOGIN.password)])
async def test_a_wrong_login_is_permanent(tmp_path: Path, repository: Repository, login: Login | None) -> None:
    """None, a wrong password, a wrong name: each call is refused in the upstream's words, with nothing of the login."""
    blob = blob_of(b"data")
    with Registry(tmp_path, login=LOGIN) as registry:
        async with connected(registry, login) as upstream:
            for call in (
                upstream.has_blob(repository, blob),
                send_blob(upstream, repository, blob, pieces(b"data")),
                upstream.put_manifest(repository, "v1", OCI_MANIFEST, b"{}"),
                upstream.get_manifest(repository, "v1", OCI_MANIFEST),
            ):
                with pytest.raises(UpstreamError, match="401") as refusal:
                    await call
                assert not refusal.value.transient
                assert "password" not in str(refusal.value)
                assert "pässword" not in repr(refusal.value)


async def test_the_upstreams_own_words(tmp_path: Path, repository: Repository) -> None:
    """A refusal with a body is told with the code and message of it."""
    with Registry(tmp_path, login=LOGIN) as registry:
        async with connected(registry, None) as upstream:
            with pytest.raises(UpstreamError, match="401 UNAUTHORIZED: authentication required"):
                await upstream.get_manifest(repository, "v1", OCI_MANIFEST)


async def test_a_certificate_of_an_unknown_authority(tmp_path: Path, repository: Repository) -> None:
    """Not believed; transient, because certificates are renewed while jobs wait."""
    with Registry(tmp_path, tls=True) as registry:
        async with transport_to(registry.url, credentials=None, tls=None) as transport:
            with pytest.raises(UpstreamError, match=r"(?i)certificate") as refusal:
                await RegistryClient(transport).has_blob(repository, blob_of(b"data"))
            assert refusal.value.transient


async def test_away_and_back(tmp_path: Path, repository: Repository) -> None:
    """While it is down every call is transient; the same client works once it is up again."""
    with Registry(tmp_path) as registry:
        async with connected(registry, None) as upstream:
            blob = await upload(upstream, repository, b"data")
            registry.kill()
            with pytest.raises(UpstreamError) as refusal:
                await upstream.has_blob(repository, blob)
            assert refusal.value.transient
            registry.start()
            assert await upstream.has_blob(repository, blob)
