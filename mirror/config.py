"""The settings: one TOML file, checked as a whole before anything starts. Only `app` and `cli` read them."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from yarl import URL

from mirror.oci.platforms import parse_platform

DEFAULT_PATH = Path("/etc/registry-mirror/config.toml")

Seconds = Annotated[float, msgspec.Meta(gt=0)]
AtOnce = Annotated[int, msgspec.Meta(ge=1, le=64)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Duration = Annotated[float, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Rate = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


Namespace = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", max_length=76)]


class SettingsError(Exception):
    """The settings cannot be used; the text names the file and the path of the offending key."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that it does not know is an error, not a typo that goes unnoticed."""


class Http(_Section, frozen=True):
    """Where builders push to, as `host:port`.

    `catalog` lets whoever can reach it list all repositories; `idle` is how many seconds a client may send nothing.
    """

    listen: str = "127.0.0.1:5000"
    catalog: bool = False
    idle: Seconds = 60.0

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest TCP port
            raise ValueError(f"listen must be host:port, not {self.listen!r}")

    @property
    def address(self) -> tuple[str, int]:
        """Host (an IPv6 address without its brackets) and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Admin(_Section, frozen=True):
    """Where `status` and `wait` reach the daemon."""

    socket: Path = Path("/run/registry-mirror/admin.sock")


class Containerd(_Section, frozen=True):
    """Which containerd images are imported into, and how they are unpacked there.

    `labels` go on every image record. Without any, those of the namespace k8s.io get the one that the kubelet's side of
    containerd puts on its own. `import` is how blobs get into its store: `direct` as files that are linked into it,
    `stream` through it, `auto` directly where that is possible.
    """

    address: Path = Path("/run/containerd/containerd.sock")
    namespace: Namespace = "default"
    snapshotter: Text = "overlayfs"
    labels: dict[str, Text] | None = None
    importer: Literal["auto", "stream", "direct"] = msgspec.field(name="import", default="auto")

    @property
    def image_labels(self) -> dict[str, str]:
        """What image records are labelled with."""
        if self.labels is None and self.namespace == "k8s.io":
            return {"io.cri-containerd.image": "managed"}
        return dict(self.labels or {})


class Journal(_Section, frozen=True):
    """The SQLite file that acknowledged pushes are written to."""

    path: Path = Path("/var/lib/registry-mirror/journal.db")


class Replication(_Section, frozen=True):
    """How hard to work on what is to be replicated: jobs and blobs at once for each upstream, back-off in seconds.

    `rate` limits the bytes per second to all upstreams together, 0 does not; `stall` is how many seconds an upstream
    may take nothing; with `eager` a blob goes upstream as soon as it is here, before the manifest that names it comes.
    """

    jobs: AtOnce = 4
    blobs: AtOnce = 8
    rate: Rate = 0
    eager: bool = True
    stall: Seconds = 60.0
    backoff_first: Seconds = 1.0
    backoff_max: Seconds = 300.0


class Unpack(_Section, frozen=True):
    """How many images are unpacked at once, and those for which `platforms` of an index: none is this machine's."""

    images: AtOnce = 2
    platforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for platform in self.platforms:
            parse_platform(platform)


class Disk(_Section, frozen=True):
    """How full the disks of containerd may get.

    A push that would leave less than `reserve` bytes free is refused; unset, that is a twentieth of the disk, but no
    more than 1 GiB. When more than `evict_at` percent are in use, images go until no more than `evict_to` percent are.
    """

    reserve: Bytes | None = None
    evict_at: Percent = 85
    evict_to: Percent = 80

    def __post_init__(self) -> None:
        if self.evict_to > self.evict_at:
            raise ValueError("evict_to must not be above evict_at")


class Retention(_Section, frozen=True):
    """Which images stay here once they are upstream; 0 is no limit.

    `tags`: so many of each repository, those that were pushed last; `age`: those that were used in the last so many
    seconds; `bytes`: so much content altogether, each blob counted once. Where there is a limit on tags, what no tag
    leads to stays for `untagged` seconds after its last use.
    """

    tags: Count = 0
    age: Duration = 0.0
    bytes: Bytes = 0
    untagged: Seconds = 86400.0


class Uploads(_Section, frozen=True):
    """After how many seconds without a request an upload session is dropped."""

    max_age: Seconds = 86400.0


class Shutdown(_Section, frozen=True):
    """How many seconds requests in flight get to finish after SIGTERM."""

    deadline: Seconds = 20.0


class Log(_Section, frozen=True):
    """How much is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Upstream(_Section, frozen=True):
    """One central registry. What is secret is in files of their own, so that this one can be read by anybody.

    Credentials are none, or one of: `username` with `password_file`, `token_file`, `docker_config`. `proxy` is the only
    one that is used: the environment's are not looked at. With `delete`, what is deleted here is deleted there too;
    `rate` limits the bytes per second that go there, 0 does not.
    """

    url: str
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    docker_config: Path | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    proxy_username: str | None = None
    proxy_password_file: Path | None = None
    delete: bool = False
    rate: Rate = 0

    def __post_init__(self) -> None:
        if not _is_origin(self.url, {"http", "https"}):  # it is not shown: it may hold a password
            raise ValueError("url must be http(s)://host[:port] and no more")
        if self.proxy is not None and not _is_origin(self.proxy, {"http"}):
            raise ValueError("proxy must be http://host:port and no more; its login is in proxy_username")
        if self.proxy is None and self.proxy_username is not None:
            raise ValueError("proxy_username needs a proxy")
        if sum(kind is not None for kind in (self.username, self.token_file, self.docker_config)) > 1:
            raise ValueError("username, token_file and docker_config exclude each other")
        self._together("username", "password_file")
        self._together("client_cert", "client_key")
        self._together("proxy_username", "proxy_password_file")

    def _together(self, one: str, other: str) -> None:
        if (getattr(self, one) is None) != (getattr(self, other) is None):
            raise ValueError(f"{one} and {other} go together")


def _is_origin(text: str, schemes: set[str]) -> bool:
    try:
        url = URL(text)
        return url.scheme in schemes and url == url.origin()
    except ValueError:
        return False


class Settings(_Section, frozen=True):
    """The whole file. `upstreams` maps a registry's name, as image names begin with it, to where it is."""

    default_upstream: str
    upstreams: dict[str, Upstream]
    http: Http = Http()
    admin: Admin = Admin()
    containerd: Containerd = Containerd()
    journal: Journal = Journal()
    replication: Replication = Replication()
    unpack: Unpack = Unpack()
    disk: Disk = Disk()
    retention: Retention = Retention()
    uploads: Uploads = Uploads()
    shutdown: Shutdown = Shutdown()
    log: Log = Log()

    def __post_init__(self) -> None:
        if self.default_upstream not in self.upstreams:
            raise ValueError(f"default_upstream {self.default_upstream!r} is not among the upstreams")


def load(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: it cannot be read, is no TOML, or holds an unknown key or a bad value.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Settings, dec_hook=_path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _path(kind: type, value: object) -> object:
    """Paths, which TOML has no type for."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected a {kind.__name__} in quotes")
