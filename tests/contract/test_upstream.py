"""The client of the upstream against the real thing: Debian's docker-registry, open, with a login, and over TLS."""

import json
import secrets
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Transfer, Upstream
from mirror.oci.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from mirror.oci.names import Repository, digest_of
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import Credentials
from mirror.upstream.transport import Transport
from tests.contract.upstreams import read_blob, send_blob, transport_to
from tests.rig.registry import Registry
from tests.rig.web import Login

LOGIN = Login("builder", "pässword: 42")
MIB = 1 << 20


@pytest.fixture(scope="module", params=["open", "login", "tls"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    login = None if request.param == "open" else LOGIN
    with Registry(tmp_path_factory.mktemp("registry"), login=login, tls=request.param == "tls") as registry:
        yield registry


def transport_of(registry: Registry, login: Login | None) -> Transport:
    """A way to the registry, with this login."""
    credentials = Credentials(login.username, login.password) if login else None
    tls = ssl.create_default_context(cafile=registry.ca_file) if registry.ca_file else None
    return transport_to(registry.url, credentials=credentials, tls=tls)


@asynccontextmanager
async def connected(registry: Registry, login: Login | None) -> AsyncIterator[Upstream]:
    """A client of the registry, with this login."""
    async with transport_of(registry, login) as transport:
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

    @pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
    async def test_a_manifest_of_any_kind(self, upstream: Upstream, repository: Repository, media_type: str) -> None:
        """Whoever does not know what it is gets it all the same, or is told what it is."""
        raw = await image(upstream, repository, media_type)
        for reference in (digest_of(raw), "v1"):
            assert await upstream.find_manifest(repository, reference) is None
            assert await upstream.fetch_manifest(repository, reference) is None
            await upstream.put_manifest(repository, reference, media_type, raw)
            assert await upstream.fetch_manifest(repository, reference) == (raw, media_type)
            found = await upstream.find_manifest(repository, reference)
            assert found == Descriptor(digest=digest_of(raw), size=len(raw), media_type=media_type)

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


class TestTransfers:
    """An upload in parts: what a broken request leaves is made here by a PATCH, which is never sent otherwise."""

    @pytest_asyncio.fixture
    async def transport(self, registry: Registry) -> AsyncIterator[Transport]:
        async with transport_of(registry, registry.login) as transport:
            yield transport

    @pytest.fixture
    def upstream(self, transport: Transport) -> Upstream:
        return RegistryClient(transport)

    @staticmethod
    async def half_sent(transport: Transport, repository: Repository, data: bytes) -> Transfer:
        """An upload that has these bytes."""
        begun = await RegistryClient(transport).begin_upload(repository, digest_of(data))
        assert begun is not None
        location, headers = begun.location, {"Content-Type": "application/octet-stream"}
        async for piece in pieces(data):
            url = URL(location, encoded=True)
            async with transport.request("PATCH", url, headers=headers, body=piece) as answer:
                location = answer.headers["Location"]
        return Transfer(location, 0)

    @pytest.mark.parametrize("sent", [2, MIB, 3 * MIB])
    async def test_one_that_goes_on(
        self, transport: Transport, upstream: Upstream, registry: Registry, repository: Repository, sent: int
    ) -> None:
        """The upstream says how far it came, takes the rest, be it nothing, and has the whole blob then."""
        data = secrets.token_bytes(3 * MIB)
        broken = await self.half_sent(transport, repository, data[:sent])
        found = await upstream.find_upload(repository, broken)
        assert found is not None
        assert found.offset == sent
        await upstream.upload_blob(repository, blob_of(data), found, pieces(data[sent:]))
        assert registry.blob(repository.path, digest_of(data)) == data
        assert await upstream.find_upload(repository, found) is None

    async def test_one_that_has_nothing(self, upstream: Upstream, repository: Repository) -> None:
        """It is as good as none."""
        begun = await upstream.begin_upload(repository, digest_of(b"data"))
        assert begun is not None
        assert await upstream.find_upload(repository, begun) is None

    async def test_one_that_is_not_known(self, registry: Registry, upstream: Upstream, repository: Repository) -> None:
        """Nor is what never was an upload of the upstream."""
        nowhere = Transfer(f"{registry.url}/v2/{repository.path}/blobs/uploads/{uuid.uuid4()}", 7)
        assert await upstream.find_upload(repository, nowhere) is None

    async def test_a_mount(self, upstream: Upstream, registry: Registry, repository: Repository) -> None:
        """The blob is in a second repository without being sent."""
        data, other = secrets.token_bytes(100), Repository(repository.registry, f"{repository.path}/other")
        blob = await upload(upstream, repository, data)
        assert await upstream.begin_upload(other, blob.digest, repository) is None
        assert registry.blob(other.path, blob.digest) == data

    @pytest.mark.parametrize("has_another", [True, False], ids=["without the blob", "that does not exist"])
    async def test_a_mount_from_a_repository(
        self, upstream: Upstream, registry: Registry, repository: Repository, *, has_another: bool
    ) -> None:
        """Where there is nothing to mount, what is begun is an upload that works."""
        data, other = secrets.token_bytes(100), Repository(repository.registry, f"{repository.path}/other")
        if has_another:
            await upload(upstream, repository, b"another")
        transfer = await upstream.begin_upload(other, digest_of(data), repository)
        assert transfer is not None
        await upstream.upload_blob(other, blob_of(data), transfer, pieces(data))
        assert registry.blob(other.path, digest_of(data)) == data

    @pytest.mark.parametrize("size", [0, 1, 3 * MIB + 17])
    async def test_a_blob_is_read_back(self, upstream: Upstream, repository: Repository, size: int) -> None:
        """Byte for byte; one that is not there is missing by its digest."""
        data = secrets.token_bytes(size)
        with pytest.raises(ContentMissingError, match=digest_of(data)):
            await read_blob(upstream, repository, digest_of(data))
        blob = await upload(upstream, repository, data)
        assert await read_blob(upstream, repository, blob.digest) == data

    async def test_referrers(self, upstream: Upstream, repository: Repository) -> None:
        """This upstream does not list them, whether it knows the subject or not."""
        raw = await image(upstream, repository)
        await upstream.put_manifest(repository, "v1", OCI_MANIFEST, raw)
        for subject in (digest_of(raw), digest_of(b"unknown")):
            assert not await upstream.lists_referrers(repository, subject)

    async def test_a_delete(self, upstream: Upstream, registry: Registry, repository: Repository) -> None:
        """It says whether there was anything to delete."""
        raw = await image(upstream, repository)
        await upstream.put_manifest(repository, "v1", OCI_MANIFEST, raw)
        assert await upstream.delete_manifest(repository, digest_of(raw))
        assert registry.manifest(repository.path, "v1") is None
        assert not await upstream.delete_manifest(repository, digest_of(raw))

    async def test_a_probe(self, registry: Registry) -> None:
        """It is there, whether it knows us or not."""
        for login in (registry.login, None):
            async with connected(registry, login) as upstream:
                await upstream.probe()


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
