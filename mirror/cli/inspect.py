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
from mirror.cli.measured import SAMPLE, Figures, Inside, Measuring, total
from mirror.cli.options import config_option, json_option, settings_or_exit
from mirror.cli.pushing import transport
from mirror.cli.screen import Block, Cell, Facts, Mood, Table, Ticker, Words, fail, show, show_json, size
from mirror.config import Settings, push_socket
from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Backoff
from mirror.core.replication.breaker import NEVER, Breaker
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import Descriptor, Manifest, parse_manifest
from mirror.oci.names import Reference, Repository, split_image
from mirror.recompress.codecs import LEVELS
from mirror.runtime.clock import SystemClock
from mirror.upstream.client import RegistryClient
from mirror.upstream.transport import Transport

_MOST = 8 * 1024 * 1024
_STALL = 30.0
_NUMBERS = ("uncompressed_bytes", "ratio", "zstd_bytes", "gain", "exact")
_HEADINGS = ["LAYER", "SIZE", "COMPRESSED", "UNCOMPRESSED", "RATIO", "GAIN", "DIGEST", "MEDIA TYPE"]


class _Config(msgspec.Struct):
    """What of an image config people ask for."""

    created: str = ""
    os: str = ""
    architecture: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest with its image config, if it has one, and what its layers are inside, in their order."""

    image: str
    manifest: Manifest
    config: _Config | None
    inside: Sequence[Inside]

    @property
    def layers(self) -> Sequence[tuple[Descriptor, Inside]]:
        """The layers with what they are inside."""
        return tuple(zip(self.manifest.layers, self.inside, strict=True))

    @property
    def total(self) -> Figures:
        """What the layers come to; a layer that the manifest names twice is there once."""
        return total({layer.digest: inside for layer, inside in self.layers}.values())


@dataclass(frozen=True, slots=True)
class _Reading:
    """How layers are read, and compressed to compare."""

    level: int
    is_exact: bool


@click.command()
@click.argument("reference")
@click.option("--upstream", "at_upstream", is_flag=True, help="Ask the upstream, not the daemon.")
@click.option("--exact", "is_exact", is_flag=True, help=f"Read all of every layer, not only its first {size(SAMPLE)}.")
@click.option(
    "--level",
    type=click.IntRange(LEVELS[0], LEVELS[-1]),
    default=3,
    show_default=True,
    help=f"The level of zstd, {LEVELS[0]} to {LEVELS[-1]}, that layers are compared with.",
)
@json_option
@config_option
@socket_option
def inspect(
    reference: str, path: Path, socket: Path | None, level: int, *, at_upstream: bool, is_exact: bool, as_json: bool
) -> None:
    """Say what the image REFERENCE is made of: its layers, how they are compressed, and what zstd would gain.

    It is what the daemon would give to a client; with --upstream, what the upstream has. Of an index it is the images
    that it lists, each of which can be asked for by its digest.

    How a layer is compressed is told by its first bytes; where its media type says something else, so does its line.
    RATIO is how many times as large it is uncompressed, and GAIN how much smaller it would be with zstd; below zero it
    would be larger, and - is for what is zstd already. Of a large layer only the beginning is read: what is estimated
    by that has a ~. A layer that is damaged, that holds far too much, or that cannot be read says so in its line.

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
        found = asyncio.run(_find(way, repository, wanted, _Reading(level, is_exact)))
    except RegistryError as error:
        fail(f"{reference}: {error.detail or error}")
    except (UpstreamError, ContentMissingError) as error:
        fail(f"{reference}: {error}")
    if found is None:
        fail(f"{reference}: there is no such image {'upstream' if at_upstream else 'here'}")
    if as_json:
        show_json(_document(found, level))
    else:
        show(*_blocks(found, level))


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


async def _find(way: Transport, repository: Repository, reference: Reference, reading: _Reading) -> _Found | None:
    async with way:
        client = RegistryClient(way)
        found = await client.fetch_manifest(repository, str(reference))
        if found is None:
            return None
        manifest = parse_manifest(*found)
        config = (
            await _config(client, repository, manifest.config) if manifest.is_runnable and manifest.config else None
        )
        inside = await _inside(client, repository, manifest.layers, reading)
        return _Found(repository.image(reference), manifest, config, inside)


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


async def _inside(
    client: RegistryClient, repository: Repository, layers: Sequence[Descriptor], reading: _Reading
) -> Sequence[Inside]:
    """What each layer is inside; a person sees how far that is."""
    measuring = Measuring(client, reading.level, is_exact=reading.is_exact)
    with Ticker() as ticker:
        found = await measuring.measure(
            repository, layers, lambda through: ticker.tell(f"read {through} of {len(layers)} layers")
        )
    return [found[layer.digest] for layer in layers]


def _blocks(found: _Found, level: int) -> Sequence[Block]:
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
            ("layers", _sum(found, level) if manifest.layers else ""),
        ]
    )
    if manifest.manifests:
        rows = [
            [str(each.platform or "-"), each.digest, size(each.size), each.media_type] for each in manifest.manifests
        ]
        return [facts, "", Table(["PLATFORM", "DIGEST", "SIZE", "MEDIA TYPE"], rows)]
    layers = [_row(number, layer, inside) for number, (layer, inside) in enumerate(found.layers, 1)]
    return [facts, "", Table(_HEADINGS, layers, is_stacked=True)] if layers else [facts]


def _row(number: int, layer: Descriptor, inside: Inside) -> Sequence[Cell]:
    told = _told(inside.figures) if inside.figures else ["-", "-", "-"]
    kind = Words(f"{layer.media_type} ({inside.note})", Mood.BAD) if inside.note else layer.media_type
    return [str(number), size(layer.size), inside.compression or "-", *told, layer.digest, kind]


def _told(figures: Figures) -> Sequence[str]:
    """What a layer is inside, its ratio and its gain; marked where it is an estimate, `-` where there is none."""
    mark = "" if figures.is_exact else "~"
    ratio = "-" if figures.ratio is None else f"{mark}{figures.ratio:.2f}"
    gain = "-" if figures.gain is None else f"{mark}{figures.gain:.0%}"
    return [f"{mark}{size(figures.uncompressed)}", ratio, gain]


def _sum(found: _Found, level: int) -> str:
    """What the layers come to, in a line."""
    uncompressed, ratio, gain = _told(found.total)
    unknown = sum(not inside.figures for inside in found.inside)
    less = f"; {unknown} of {len(found.inside)} are not counted" if unknown else ""
    what = f"{size(found.total.size)}, {uncompressed} uncompressed, ratio {ratio}, gain {gain} by zstd at level {level}"
    return what + less


def _document(found: _Found, level: int) -> dict[str, Any]:
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
                "compression": inside.compression,
                **_numbers(inside.figures),
                "note": inside.note or None,
            }
            for layer, inside in found.layers
        ],
        "total": {"bytes": found.total.size, **_numbers(found.total), "level": level} if manifest.layers else None,
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


def _numbers(figures: Figures | None) -> dict[str, Any]:
    """What programs are told of figures, with `None` for all that is not known."""
    if figures is None:
        return dict.fromkeys(_NUMBERS)
    return {
        "uncompressed_bytes": figures.uncompressed,
        "ratio": figures.ratio,
        "zstd_bytes": figures.zstd,
        "gain": figures.gain,
        "exact": figures.is_exact,
    }
