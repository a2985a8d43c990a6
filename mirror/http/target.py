"""What the address of a request means: which repository, which digest, where its uploads are."""

import re

from aiohttp import web

from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository, parse_digest, parse_path, parse_reference, parse_tag

_MOST_TAGS = 100
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def path(request: web.Request, longest: int) -> str:
    """The path of the repository, of so many characters at most. Raises RegistryError: NAME_INVALID."""
    return parse_path(request.match_info["name"], longest)


def digest(request: web.Request) -> Digest:
    """The digest in the path, or else in the query. Raises RegistryError: DIGEST_INVALID."""
    return parse_digest(request.match_info.get("digest") or request.query.get("digest", ""))


def reference(request: web.Request) -> Reference:
    """The tag or digest in the path. Raises RegistryError: DIGEST_INVALID, TAG_INVALID."""
    return parse_reference(request.match_info["reference"])


def references(request: web.Request) -> list[Reference]:
    """What a manifest is put under: the reference in the path and, where that is a digest, each `tag=` of the query.

    Raises:
        RegistryError: DIGEST_INVALID, TAG_INVALID, TOO_MANY_TAGS.
    """
    first = reference(request)
    tags = request.query.getall("tag", []) if first.digest else []
    if len(tags) > _MOST_TAGS:
        raise RegistryError(Problem.TOO_MANY_TAGS, f"at most {_MOST_TAGS}")
    return [first, *(parse_tag(tag) for tag in dict.fromkeys(tags))]


def mount(request: web.Request) -> Digest:
    """The blob that is to be mounted. Raises RegistryError: DIGEST_INVALID."""
    return parse_digest(request.query.get("mount", ""))


def source(request: web.Request, registry: str) -> Repository | None:
    """The repository that a blob is to be mounted from, None for any. Raises RegistryError: NAME_INVALID."""
    name = request.query.get("from")
    return None if name is None else Repository(registry, parse_path(name))


def check_algorithm(request: web.Request) -> None:
    """Refuse an upload that announces another digest algorithm. Raises RegistryError: DIGEST_INVALID."""
    algorithm = request.query.get("digest-algorithm", "sha256")
    if algorithm != "sha256":
        raise RegistryError(Problem.DIGEST_INVALID, f"algorithm {algorithm[:255]!r} is not supported, sha256 is")


def origin(request: web.Request) -> str:
    """Scheme and host that the client came by; empty when its Host header is none."""
    return f"{request.scheme}://{request.host}" if _HOST.fullmatch(request.host) else ""


def location(request: web.Request, address: str) -> str:
    """A `Location` below our root; it carries `ns=` on, for clients that do not add it again by themselves.

    Where there is a `ns=` it is a whole URL: such a client may have been redirected to us on its way to that registry,
    and dockerd and containerd resolve a relative one against the address that they asked first (RFC 9110, 10.2.2, has
    them resolve it against the one that answered).
    """
    namespace = request.query.get("ns")
    return address if namespace is None else f"{origin(request)}{address}?ns={namespace}"
