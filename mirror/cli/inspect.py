"""`registry-mirror inspect`: what an image is made of."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from yarl import URL

from mirror.app.connection import connection
from mirror.cli.admin import socket_option
from mirror.cli.options import config_option, json_option, settings_or_exit
from mirror.cli.pushing import transport
from mirror.cli.screen import Block, Facts, Table, fail, show, show_json, size
from mirror.config import Settings, push_socket
from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Backoff
from mirror.core.replication.breaker import NEVER, Breaker
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import Descriptor, Manifest, parse_manifest
from mirror.oci.names import Reference, Repository, split_image
from mirror.runtime.clock import SystemClock
from mirror.upstream.client import RegistryClient
from mirror.upstream.transport import Transport

_MOST = 8 * 1024 * 1024
_STALL = 30.0
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd"}


class _Config(msgspec.Struct):
    """What of an image config people ask for."""

    created: str = ""
    os: str = ""
    architecture: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest with its image config, if it has one."""

    image: str
    manifest: Manifest
    config: _Config | None


@click.command()
@click.argument("reference")
@click.option("--upstream", "at_upstream", is_flag=True, help="Ask the upstream, not the daemon.")
@json_option
@config_option
@socket_option
def inspect(reference: str, path: Path, socket: Path | None, *, at_upstream: bool, as_json: bool) -> None:
    """Say what the image REFERENCE is made of: its layers, how they are compressed, and how large they are.

    It is what the daemon would give to a client; with --upstream, what the upstream has. Of an index it is the images
    that it lists, each of which can be asked for by its digest.

    Exit code 1: there is no such image, or nobody answers.
    """
    settings = settings_or_exit(path)
    try:
        repository, wanted = split_image(reference, frozenset(settings.upstreams), settings.default_upstream)
        way = (
            _upstream(settings, repository)
            if at_upstream
            else transport(_socket(settings, socket), repository.registry)
        )
        found = asyncio.run(_find(way, repository, wanted))
    except RegistryError as error:
        fail(f"{reference}: {error.detail or error}")
    except (UpstreamError, ContentMissingError) as error:
        fail(f"{reference}: {error}")
    if found is None:
        fail(f"{reference}: there is no such image {'upstream' if at_upstream else 'here'}")
    if as_json:
        show_json(_document(found))
    else:
        show(*_blocks(found))


def _socket(settings: Settings, socket: Path | None) -> Path:
    return push_socket(socket or settings.admin.socket)


def _upstream(settings: Settings, repository: Repository) -> Transport:
    upstream = settings.upstreams[repository.registry]
    tls, credentials, proxy = connection(repository.registry, upstream)
    clock = SystemClock()
    never = Breaker(clock=clock, random=random.SystemRandom(), backoff=Backoff(1.0, 1.0), failures=NEVER)
    return Transport(
        URL(upstream.url), credentials=credentials, tls=tls, proxy=proxy, clock=clock, breaker=never, stall=_STALL
    )


async def _find(way: Transport, repository: Repository, reference: Reference) -> _Found | None:
    async with way:
        client = RegistryClient(way)
        found = await client.fetch_manifest(repository, str(reference))
        if found is None:
            return None
        manifest = parse_manifest(*found)
        config = (
            await _config(client, repository, manifest.config) if manifest.is_runnable and manifest.config else None
        )
        return _Found(repository.image(reference), manifest, config)


async def _config(client: RegistryClient, repository: Repository, config: Descriptor) -> _Config:
    raw = bytearray()
    async with client.open_blob(repository, config.digest) as blob:
        async for piece in blob.data:
            raw += piece
            if len(raw) > _MOST:
                raise UpstreamError(f"{config.digest} is larger than a config can be", transient=False)
    try:
        return msgspec.json.decode(raw, type=_Config)
    except msgspec.DecodeError as error:
        raise UpstreamError(f"{config.digest} is no image config: {error}", transient=False) from error


def _compression(layer: Descriptor) -> str:
    """What a media type says; Docker's has a dot where OCI's has a plus."""
    ending = layer.media_type.replace("+", ".").rpartition(".")[2]
    return _COMPRESSIONS.get(ending, "none")


def _blocks(found: _Found) -> Sequence[Block]:
    manifest, config = found.manifest, found.config
    platform = "/".join(filter(None, (config.os, config.architecture, config.variant))) if config else ""
    facts = Facts(
        [
            ("image", found.image),
            ("digest", manifest.digest),
            ("media type", manifest.media_type),
            ("artifact", manifest.artifact_type),
            ("platform", platform),
            ("created", config.created if config else ""),
            ("subject", manifest.subject.digest if manifest.subject else ""),
            ("size", size(sum(blob.size for blob in manifest.blobs)) if manifest.blobs else ""),
        ]
    )
    if manifest.manifests:
        rows = [
            [str(each.platform or "-"), each.digest, size(each.size), each.media_type] for each in manifest.manifests
        ]
        return [facts, "", Table(["PLATFORM", "DIGEST", "SIZE", "MEDIA TYPE"], rows)]
    rows = [
        [str(number), layer.digest, size(layer.size), _compression(layer), layer.media_type]
        for number, layer in enumerate(manifest.layers, 1)
    ]
    return [facts, "", Table(["LAYER", "DIGEST", "SIZE", "COMPRESSED", "MEDIA TYPE"], rows)] if rows else [facts]


def _document(found: _Found) -> dict[str, Any]:
    manifest = found.manifest
    return {
        "image": found.image,
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "artifact_type": manifest.artifact_type or None,
        "subject": manifest.subject.digest if manifest.subject else None,
        "config": msgspec.to_builtins(found.config) if found.config else None,
        "layers": [
            {
                "digest": layer.digest,
                "media_type": layer.media_type,
                "bytes": layer.size,
                "compression": _compression(layer),
            }
            for layer in manifest.layers
        ],
        "manifests": [
            {
                "digest": each.digest,
                "media_type": each.media_type,
                "bytes": each.size,
                "platform": str(each.platform) if each.platform else None,
            }
            for each in manifest.manifests
        ],
    }
