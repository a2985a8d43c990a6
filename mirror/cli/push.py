"""`registry-mirror push`: images from files, as if a builder had pushed them."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from mirror.archives.files import ArchiveError, OpenFiles
from mirror.archives.images import Archive, Image, read_archive
from mirror.cli.admin import socket_option
from mirror.cli.options import config_option, json_option, settings_or_exit
from mirror.cli.pushing import Pusher, Reached, transport
from mirror.cli.screen import console, fail, is_terminal, show, show_json
from mirror.config import Settings, push_socket
from mirror.core.errors import UpstreamError
from mirror.oci.errors import RegistryError
from mirror.oci.names import Reference, Repository, split_image
from mirror.upstream.client import RegistryClient


@dataclass(frozen=True, slots=True)
class _Errand:
    """An image, and what it is to be called here."""

    image: Image
    repository: Repository
    reference: Reference


@click.command()
@click.argument("archive", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("reference", required=False)
@click.option(
    "--image", "wanted", metavar="NAME", help="Which image of ARCHIVE, by a name or digest that it has there."
)
@json_option
@config_option
@socket_option
def push(
    archive: Path, reference: str | None, wanted: str | None, path: Path, socket: Path | None, *, as_json: bool
) -> None:
    """Push the images in ARCHIVE to the daemon, as REFERENCE or by the names that they have there.

    ARCHIVE is an OCI layout, as a directory or in a tar file, or what `docker save` writes; a tar file may be packed
    with gzip, and `-` is what comes in. Nothing is changed on the way: layers that are not packed go as they are.
    Whoever may use the admin socket may push to any repository.

    Exit code 0: all are acknowledged, and on their way upstream. 1: at least one is not.
    """
    settings = settings_or_exit(path)
    try:
        with OpenFiles(archive, sys.stdin.buffer) as opened:
            content = read_archive(opened.files)
            errands = _errands(content, wanted, reference, settings)
            pushed = asyncio.run(_push(content, errands, push_socket(socket or settings.admin.socket)))
    except (ArchiveError, OSError) as error:
        fail(f"{archive}: {error}")
    if as_json:
        show_json({"images": pushed})
    else:
        show(*(f"{each['image']}@{each['digest']}" if each["tag"] else str(each["image"]) for each in pushed))


def _errands(archive: Archive, wanted: str | None, reference: str | None, settings: Settings) -> Sequence[_Errand]:
    """What is to be pushed, and as what. Raises ArchiveError: that is not clear."""
    images = [image for image in archive.images if wanted is None or wanted in _labels(image)]
    if not images or (reference and len(images) > 1):
        has = ", ".join(name for image in archive.images for name in _labels(image)[:1]) or "none"
        raise ArchiveError(f"say with --image which of its images is meant; it has {has}")
    named = [(image, name) for image in images for name in ([reference] if reference else _full(image))]
    if len(named) < len(images) or not named:
        raise ArchiveError("has an image without a full name: say with REFERENCE what it is to be called")
    return [_errand(image, name, settings) for image, name in named]


def _errand(image: Image, name: str, settings: Settings) -> _Errand:
    first, slash, _ = name.partition("/")
    if slash and first not in settings.upstreams and ({".", ":"} & set(first) or first == "localhost"):
        raise ArchiveError(f"{name} is of a registry that is not in the settings: give a REFERENCE of one that is")
    try:
        repository, reference = split_image(name, frozenset(settings.upstreams), settings.default_upstream)
    except RegistryError as error:
        raise ArchiveError(f"{name}: {error.detail}") from error
    if reference.digest not in {None, image.manifest.digest}:
        raise ArchiveError(f"{name}: the image has the digest {image.manifest.digest}")
    return _Errand(image, repository, reference)


def _labels(image: Image) -> tuple[str, ...]:
    return (*image.names, image.manifest.digest)


def _full(image: Image) -> list[str]:
    """Names that say more than a tag."""
    return [name for name in image.names if {"/", ":"} & set(name)]


async def _push(archive: Archive, errands: Sequence[_Errand], socket: Path) -> list[dict[str, object]]:
    return [await _push_one(archive, errand, socket) for errand in errands]


async def _push_one(archive: Archive, errand: _Errand, socket: Path) -> dict[str, object]:
    image, manifest = errand.repository.image(errand.reference), errand.image.manifest
    try:
        async with transport(socket, errand.repository.registry) as way:
            client = RegistryClient(way)
            await client.probe()
            pusher = Pusher(archive, client)
            with _bar(image, pusher.total(manifest)) as pusher.reached:
                await pusher.push(errand.repository, errand.reference, manifest)
    except UpstreamError as error:
        fail(f"{image}: the daemon at {socket}: {error}")
    return {
        "image": image,
        "tag": errand.reference.tag,
        "digest": manifest.digest,
        "bytes": {"sent": pusher.sent, "there": pusher.there},
    }


@contextmanager
def _bar(image: str, size: int) -> Iterator[Reached]:
    """A progress bar for so many bytes, where somebody looks."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415 - see `console`

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console(), transient=True, disable=not is_terminal()) as progress:
        task = progress.add_task(image, total=size)
        yield lambda more: progress.advance(task, more)
