"""The central registries, and the work that is done for them."""

from yarl import URL

from mirror.config.kinds import AtOnce, Duration, File, Rate, Seconds, SecretFile, Section


class PullThrough(Section, frozen=True):
    """With this table, even an empty one, what is not here is fetched from the upstream and kept."""

    tags: Duration = 60.0
    """How long it is not asked again what a tag means."""
    patience: Seconds = 15.0
    """How long it may take to begin with an answer, and each time to go on."""
    borrow: bool = False
    """Whether a blob that only the upstream has need not be pushed: it is fetched beside the push."""


class Upstream(Section, frozen=True):
    """One central registry, under its name as image names begin with it; those without a table do not exist.

    Its credentials are none, or one of three: `username` with `password_file`, `token_file`, `docker_config`. Where it
    asks for bearer tokens, they are got from its token server with the login (or identity token) that is there. Each
    of these files is read again when it changes.
    """

    url: str
    """Where it is: `http://` or `https://`, a host, perhaps a port, and no more.

    Example: "https://registry.example.com"
    """
    username: str | None = None
    """The user of `password_file`.

    Example: "builder"
    """
    password_file: SecretFile | None = None
    """The password, and nothing else.

    Example: "/etc/registry-mirror/registry.example.com.password"
    """
    token_file: SecretFile | None = None
    """A bearer token that others renew; it is sent as it is.

    Example: "/etc/registry-mirror/registry.example.com.token"
    """
    docker_config: SecretFile | None = None
    """A docker `config.json`: its `auths`, `credHelpers` and `credsStore` count. Helpers run without a home directory.

    Example: "/etc/registry-mirror/docker.json"
    """
    ca_file: File | None = None
    """The authorities that its certificate may come from, in PEM, instead of the system's. Read at the start.

    Example: "/etc/registry-mirror/registry.example.com.pem"
    """
    client_cert: File | None = None
    """The certificate that is shown to an upstream that asks for one, with its chain, in PEM. Read at the start.

    Example: "/etc/registry-mirror/client.pem"
    """
    client_key: SecretFile | None = None
    """The key of `client_cert`, without a passphrase. Read at the start.

    Example: "/etc/registry-mirror/client.key"
    """
    proxy: str | None = None
    """The HTTP proxy that it is reached by: `http://host:port`. Those of the environment (`https_proxy` and so on) are
    not used.

    Example: "http://proxy.example.com:3128"
    """
    proxy_username: str | None = None
    """The user of `proxy_password_file`.

    Example: "builder"
    """
    proxy_password_file: SecretFile | None = None
    """The password for the proxy, and nothing else. Read again when it changes.

    Example: "/etc/registry-mirror/proxy.password"
    """
    delete: bool = False
    """Whether tags and manifests that are deleted here are deleted there, too."""
    rate: Rate = 0
    """How much is sent there at most; 0 is no limit. `registry-mirror limits` changes it until the next start."""
    pull: PullThrough | None = None

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


class Replication(Section, frozen=True):
    """How hard to work on what is to be replicated."""

    jobs: AtOnce = 4
    """How many images are on their way to each upstream at once."""
    blobs: AtOnce = 8
    """How many blobs are on their way to each upstream at once; the last place is kept for small ones."""
    rate: Rate = 0
    """How much is sent to all upstreams together; 0 is no limit. `registry-mirror limits` changes it until the next
    start."""
    eager: bool = True
    """Whether blobs are sent as soon as they are here, before the manifest that names them comes."""
    stall: Seconds = 60.0
    """How long an upstream may take nothing before an upload is broken off."""
    backoff_first: Seconds = 1.0
    """How long to wait before the first retry; then it is longer each time."""
    backoff_max: Seconds = 300.0
    """The longest wait between two retries."""


def _is_origin(text: str, schemes: set[str]) -> bool:
    try:
        url = URL(text)
        return url.scheme in schemes and url == url.origin()
    except ValueError:
        return False
