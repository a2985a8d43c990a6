"""What the address of a request means: which repository, which digest, where its uploads are."""

from aiohttp import web

from mirror.core.registries import Registries
from mirror.oci.names import Digest, Reference, Repository, parse_digest, parse_path, parse_reference


def repository(request: web.Request, registries: Registries) -> Repository:
    """The repository of a request. Raises RegistryError: NAME_INVALID, NAME_UNKNOWN."""
    registry = registries.choose(request.query.get("ns"), request.host)
    return Repository(registry, parse_path(request.match_info["name"]))


def digest(request: web.Request) -> Digest:
    """The digest in the path, or else in the query. Raises RegistryError: DIGEST_INVALID."""
    return parse_digest(request.match_info.get("digest") or request.query.get("digest", ""))


def reference(request: web.Request) -> Reference:
    """The tag or digest in the path. Raises RegistryError: DIGEST_INVALID, TAG_INVALID."""
    return parse_reference(request.match_info["reference"])


def location(request: web.Request, path: str) -> str:
    """A `Location` below our root; it carries `ns=` on, for clients that do not add it again by themselves."""
    namespace = request.query.get("ns")
    return path if namespace is None else f"{path}?ns={namespace}"
