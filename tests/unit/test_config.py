"""The settings file: checked as a whole, with words that name the offending key."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.config import (
    Jwt,
    Listener,
    PullThrough,
    Rule,
    Settings,
    SettingsError,
    Tls,
    Upstream,
    Verify,
    load,
)
from mirror.core.access import Action

MINIMAL = """
default_upstream = "registry.example.com"
[upstreams."registry.example.com"]
url = "https://registry.example.com"
"""
EVERYTHING = """
default_upstream = "registry.example.com"

[upstreams."registry.example.com"]
url = "https://registry.example.com"
username = "builder"
password_file = "/etc/password"
ca_file = "/etc/ca.pem"
client_cert = "/etc/client.pem"
client_key = "/etc/client.key"
proxy = "http://proxy.example.com:3128"
proxy_username = "through"
proxy_password_file = "/etc/proxy"
delete = true
rate = 1_000_000

[upstreams."localhost:5001"]
url = "http://localhost:5001/"
token_file = "/etc/token"

[upstreams."localhost:5002"]
url = "http://localhost:5002"
docker_config = "/etc/config.json"

[listeners.builders]
listen = "[::1]:5443"
identify = ["network", "certificate"]
tenant = "acme"

[listeners.builders.tls]
certificate = "/etc/tls.pem"
key = "/etc/tls.key"
client_ca = "/etc/clients.pem"

[listeners.local]
listen = "unix:/tmp/push.sock"
group = "builders"

[identity]
networks = { "fdaa:0:18::/48" = "acme" }
htpasswd = "/etc/htpasswd"
tokens = "/etc/tokens"
tenants = { "basic:alice" = "acme" }
certificate_tenant = "O"
issue = 300

[identity.jwt]
keys = "/etc/jwks.json"
audience = "registry-mirror"
issuer = "https://auth.example.com"
tenant_claim = "team"
leeway = 5
realm = "https://auth.example.com/token"
service = "mirror"

[rules.own]
tenants = ["*"]
principals = ["token:ci-*"]
registries = ["registry.example.com"]
repositories = ["{tenant}/**"]
actions = ["pull", "delete"]

[http]
catalog = true
idle = 5.0
head = 3.0
keep = 9.0
total = 600
line = 4096
headers = 64
connections = 100
blob = 10_000_000_000
manifest = 1_000_000
name = 100

[callers]
connections = 10
requests = 5
burst = 50
uploads = 8
sessions = 20

[tenants]
bytes = 20_000_000_000

[verify]
media_types = ["application/vnd.oci.image.manifest.v1+json"]
blob_media_types = ["application/vnd.oci.image.config.v1+json"]
layers = 100
layer_bytes = 1_000_000_000
image_bytes = 5_000_000_000
annotations = { "org.example.signed" = "" }
socket = "/tmp/verify.sock"
timeout = 3

[admin]
socket = "/tmp/admin.sock"
listen = "[::1]:5001"
group = "operators"

[containerd]
address = "/tmp/containerd.sock"
namespace = "k8s.io"
snapshotter = "native"
labels = { team = "ours" }
import = "stream"

[journal]
path = "/tmp/journal.db"

[replication]
jobs = 1
blobs = 64
rate = 5_000_000
eager = false
stall = 7
backoff_first = 0.5
backoff_max = 60

[unpack]
images = 3
platforms = ["linux/amd64", "linux/arm/v7"]

[disk]
reserve = 2_000_000_000
evict_at = 90
evict_to = 70

[retention]
tags = 3
age = 604_800
bytes = 50_000_000_000
untagged = 3600

[uploads]
max_age = 3600

[shutdown]
deadline = 5

[log]
level = "debug"
format = "json"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(file: Path, text: str) -> Settings:
    """Write the file and load it."""
    file.write_text(text)
    return load(file)


@pytest.mark.parametrize(
    ("section", "labels"),
    [
        ("", {}),
        ('namespace = "k8s.io"', {"io.cri-containerd.image": "managed"}),
        ('namespace = "k8s.io"\nlabels = {}', {}),
        ('labels = { "team" = "ours" }', {"team": "ours"}),
    ],
)
def test_image_labels(file: Path, section: str, labels: dict[str, str]) -> None:
    """In the namespace of Kubernetes, images look like the kubelet's own, unless something else is said."""
    assert read(file, f"{MINIMAL}\n[containerd]\n{section}\n").containerd.image_labels == labels


def test_defaults(file: Path) -> None:
    """An upstream is all that must be said."""
    settings = read(file, MINIMAL)
    assert settings.upstreams == {"registry.example.com": Upstream(url="https://registry.example.com")}
    assert [listener.address for listener in settings.listeners.values()] == [("127.0.0.1", 5000)]
    assert settings.is_open
    assert settings.containerd.address == Path("/run/containerd/containerd.sock")
    assert settings == Settings(default_upstream=settings.default_upstream, upstreams=settings.upstreams)


def test_every_section(file: Path) -> None:
    """Each key of the file arrives at its place, with its type, and differs from its default."""
    settings = read(file, EVERYTHING)
    expected: dict[str, dict[str, Any]] = {
        "http": {
            "catalog": True,
            "idle": 5.0,
            "head": 3.0,
            "keep": 9.0,
            "total": 600.0,
            "line": 4096,
            "headers": 64,
            "connections": 100,
            "blob": 10_000_000_000,
            "manifest": 1_000_000,
            "name": 100,
        },
        "callers": {"connections": 10, "requests": 5.0, "burst": 50, "uploads": 8, "sessions": 20},
        "tenants": {"bytes": 20_000_000_000},
        "verify": {
            "media_types": frozenset({"application/vnd.oci.image.manifest.v1+json"}),
            "blob_media_types": frozenset({"application/vnd.oci.image.config.v1+json"}),
            "layers": 100,
            "layer_bytes": 1_000_000_000,
            "image_bytes": 5_000_000_000,
            "annotations": {"org.example.signed": ""},
            "command": (),
            "socket": Path("/tmp/verify.sock"),  # noqa: S108 - never opened
            "timeout": 3.0,
        },
        "admin": {
            "socket": Path("/tmp/admin.sock"),  # noqa: S108 - never opened
            "group": "operators",
            "listen": "[::1]:5001",
        },
        "identity": {
            "networks": {"fdaa:0:18::/48": "acme"},
            "htpasswd": Path("/etc/htpasswd"),
            "tokens": Path("/etc/tokens"),
            "tenants": {"basic:alice": "acme"},
            "certificate_tenant": "O",
            "issue": 300,
            "jwt": Jwt(
                keys=Path("/etc/jwks.json"),
                audience="registry-mirror",
                issuer="https://auth.example.com",
                tenant_claim="team",
                leeway=5.0,
                realm="https://auth.example.com/token",
                service="mirror",
            ),
        },
        "containerd": {
            "address": Path("/tmp/containerd.sock"),  # noqa: S108 - never opened
            "namespace": "k8s.io",
            "snapshotter": "native",
            "labels": {"team": "ours"},
            "importer": "stream",
        },
        "journal": {"path": Path("/tmp/journal.db")},  # noqa: S108 - never opened
        "replication": {
            "jobs": 1,
            "blobs": 64,
            "rate": 5_000_000,
            "eager": False,
            "stall": 7.0,
            "backoff_first": 0.5,
            "backoff_max": 60.0,
        },
        "unpack": {"images": 3, "platforms": ("linux/amd64", "linux/arm/v7")},
        "disk": {"reserve": 2_000_000_000, "evict_at": 90, "evict_to": 70},
        "retention": {"tags": 3, "age": 604_800.0, "bytes": 50_000_000_000, "untagged": 3600.0},
        "uploads": {"max_age": 3600.0},
        "shutdown": {"deadline": 5.0},
        "log": {"level": "debug", "format": "json"},
    }
    assert {section: msgspec.structs.asdict(getattr(settings, section)) for section in expected} == expected
    assert settings.listeners == {
        "builders": Listener(
            listen="[::1]:5443",
            tls=Tls(certificate=Path("/etc/tls.pem"), key=Path("/etc/tls.key"), client_ca=Path("/etc/clients.pem")),
            identify=("network", "certificate"),
            tenant="acme",
        ),
        "local": Listener(listen="unix:/tmp/push.sock", group="builders"),
    }
    assert settings.listeners["local"].socket == Path("/tmp/push.sock")  # noqa: S108 - never opened
    assert settings.rules == {
        "own": Rule(
            tenants=frozenset({"*"}),
            principals=("token:ci-*",),
            registries=frozenset({"registry.example.com"}),
            repositories=("{tenant}/**",),
            actions=frozenset({Action.PULL, Action.DELETE}),
        )
    }
    assert settings.upstreams == {
        "registry.example.com": Upstream(
            url="https://registry.example.com",
            username="builder",
            password_file=Path("/etc/password"),
            ca_file=Path("/etc/ca.pem"),
            client_cert=Path("/etc/client.pem"),
            client_key=Path("/etc/client.key"),
            proxy="http://proxy.example.com:3128",
            proxy_username="through",
            proxy_password_file=Path("/etc/proxy"),
            delete=True,
            rate=1_000_000,
        ),
        "localhost:5001": Upstream(url="http://localhost:5001/", token_file=Path("/etc/token")),
        "localhost:5002": Upstream(url="http://localhost:5002", docker_config=Path("/etc/config.json")),
    }


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:5000", ("127.0.0.1", 5000)), ("[::1]:80", ("::1", 80)), ("host:65535", ("host", 65535))],
)
def test_the_address_to_listen_on(file: Path, listen: str, address: tuple[str, int]) -> None:
    """Host and port are taken apart; an IPv6 address loses its brackets."""
    settings = read(file, f'{MINIMAL}[listeners.builders]\nlisten = "{listen}"')
    assert settings.listeners == {"builders": Listener(listen=listen)}
    assert settings.listeners["builders"].address == address


def test_a_command_that_is_asked(file: Path) -> None:
    """It has its arguments, each of them in one piece."""
    settings = read(file, f'{MINIMAL}[verify]\ncommand = ["/bin/verify image", "--strict"]')
    assert settings.verify == Verify(command=("/bin/verify image", "--strict"))


def test_an_empty_table_is_enough(file: Path) -> None:
    """Where there is one, what is not here is fetched."""
    settings = read(file, f'{MINIMAL}[upstreams."registry.example.com".pull]\n')
    assert [upstream.pull for upstream in settings.upstreams.values()] == [PullThrough()]
    assert [upstream.pull for upstream in read(file, MINIMAL).upstreams.values()] == [None]


REPLICATION = "[replication]\n"
BAD: dict[str, tuple[str, str]] = {
    "unknown section": ("[replicaton]\njobs = 4", "replicaton"),
    "unknown key": (f"{REPLICATION}job = 4", r"`job`.*\$\.replication"),
    "unknown key of an upstream": ('[upstreams.x]\nurl = "http://x"\nuser = "me"', r"`user`.*\$\.upstreams"),
    "no tasks at once": (f"{REPLICATION}jobs = 0", r"\$\.replication\.jobs"),
    "too many at once": (f"{REPLICATION}blobs = 65", r"\$\.replication\.blobs"),
    "at once in quotes": ('[unpack]\nimages = "2"', r"\$\.unpack\.images"),
    "no platform": ('[unpack]\nplatforms = ["amd64"]', r"'amd64' is not os/architecture.*\$\.unpack"),
    "negative seconds": ("[shutdown]\ndeadline = -1", r"\$\.shutdown\.deadline"),
    "no seconds": (f"{REPLICATION}backoff_first = 0", r"\$\.replication\.backoff_first"),
    "seconds that are none": ("[uploads]\nmax_age = nan", r"\$\.uploads\.max_age"),
    "level": ('[log]\nlevel = "loud"', r"\$\.log\.level"),
    "format": ('[log]\nformat = "xml"', r"\$\.log\.format"),
    "no way into the store": ('[containerd]\nimport = "rsync"', r"\$\.containerd\.import"),
    "no namespace": ('[containerd]\nnamespace = ""', r"\$\.containerd\.namespace"),
    "path as number": ("[journal]\npath = 1", r"\$\.journal\.path"),
    "listen without port": ('[listeners.a]\nlisten = "localhost"', r"listen.*\$\.listeners"),
    "listen without host": ('[listeners.a]\nlisten = ":5000"', r"listen.*\$\.listeners"),
    "listen with a port in words": ('[listeners.a]\nlisten = "localhost:http"', r"listen.*\$\.listeners"),
    "listen on a path that is not whole": ('[listeners.a]\nlisten = "unix:push.sock"', r"listen.*\$\.listeners"),
    "a group of a port": ('[listeners.a]\ngroup = "builders"', r"group.*\$\.listeners"),
    "no connections": ("[http]\nconnections = 0", r"\$\.http\.connections"),
    "manifests that no upstream takes": ("[http]\nmanifest = 4194305", r"\$\.http\.manifest"),
    "requests below none": ("[callers]\nrequests = -1", r"\$\.callers\.requests"),
    "headers without end": ("[http]\nline = 1_000_000", r"\$\.http\.line"),
    "no listeners": ("[listeners]", "listeners is empty"),
    "a kind of proof that there is not": ('[listeners.a]\nidentify = ["magic"]', "identify"),
    "a kind of proof that is not set up": ('[listeners.a]\nidentify = ["basic"]', r"listeners\.a\.identify"),
    "certificates without TLS": ('[listeners.a]\nidentify = ["certificate"]', r"listeners\.a\.identify"),
    "what is no network": ('[identity.networks]\n"10.0.0.1/8" = "acme"', r"host bits.*\$\.identity"),
    "tokens for nobody": ("[identity]\nissue = 300", r"issue.*\$\.identity"),
    "a realm that is no URL": (
        '[identity.jwt]\nkeys = "/k"\naudience = "a"\nissuer = "i"\nrealm = "auth.example.com"',
        r"realm.*\$\.identity\.jwt",
    ),
    "a rule with a bad pattern": ('[rules.a]\nrepositories = ["Team"]', r"'Team'.*\$\.rules"),
    "a rule for another registry": ('[rules.a]\nregistries = ["other.example.com"]', r"rules\.a\.registries"),
    "an action that there is not": ('[rules.a]\nactions = ["write"]', r"\$\.rules"),
    "two that are asked": (
        '[verify]\ncommand = ["/bin/true"]\nsocket = "/s"',
        r"command and socket exclude each other.*\$\.verify",
    ),
    "a command of no certain place": ('[verify]\ncommand = ["true"]', r"absolute path.*\$\.verify"),
    "a command in one piece": ('[verify]\ncommand = "/bin/true -v"', r"\$\.verify\.command"),
    "no time for an answer": ("[verify]\ntimeout = 0", r"\$\.verify\.timeout"),
    "listen beyond the last port": ('[listeners.a]\nlisten = "localhost:65536"', r"listen.*\$\.listeners"),
    "url of another scheme": ('[upstreams.x]\nurl = "ftp://x"', r"url.*\$\.upstreams"),
    "url without scheme": ('[upstreams.x]\nurl = "registry.example.com"', r"url.*\$\.upstreams"),
    "url without host": ('[upstreams.x]\nurl = "https://"', r"url.*\$\.upstreams"),
    "url with a path": ('[upstreams.x]\nurl = "https://x/v2"', r"url.*\$\.upstreams"),
    "url with a query": ('[upstreams.x]\nurl = "https://x?a=b"', r"url.*\$\.upstreams"),
    "url with a bad port": ('[upstreams.x]\nurl = "https://x:port"', r"\$\.upstreams"),
    "url with a bad address": ('[upstreams.x]\nurl = "https://[::1"', r"\$\.upstreams"),
    "no url": ("[upstreams.x]", r"`url`.*\$\.upstreams"),
    "password without user": ('[upstreams.x]\nurl = "http://x"\npassword_file = "/p"', r"username.*\$\.upstreams"),
    "user without password": ('[upstreams.x]\nurl = "http://x"\nusername = "me"', r"password_file.*\$\.upstreams"),
    "two kinds of credentials": (
        '[upstreams.x]\nurl = "http://x"\ntoken_file = "/t"\ndocker_config = "/d"',
        r"username, token_file and docker_config exclude each other.*\$\.upstreams",
    ),
    "a login and a token": (
        '[upstreams.x]\nurl = "http://x"\nusername = "me"\npassword_file = "/p"\ntoken_file = "/t"',
        r"exclude each other.*\$\.upstreams",
    ),
    "certificate without key": ('[upstreams.x]\nurl = "https://x"\nclient_cert = "/c"', r"client_key.*\$\.upstreams"),
    "key without certificate": ('[upstreams.x]\nurl = "https://x"\nclient_key = "/k"', r"client_cert.*\$\.upstreams"),
    "https proxy": ('[upstreams.x]\nurl = "https://x"\nproxy = "https://p:1"', r"proxy must be.*\$\.upstreams"),
    "proxy with a path": ('[upstreams.x]\nurl = "https://x"\nproxy = "http://p:1/x"', r"proxy must be.*\$\.upstreams"),
    "login of no proxy": (
        '[upstreams.x]\nurl = "https://x"\nproxy_username = "me"\nproxy_password_file = "/p"',
        r"needs a proxy.*\$\.upstreams",
    ),
    "proxy password without user": (
        '[upstreams.x]\nurl = "https://x"\nproxy = "http://p:1"\nproxy_password_file = "/p"',
        r"proxy_username.*\$\.upstreams",
    ),
    "no TOML": ("[http\n", "line"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_by_the_key_that_is_wrong(file: Path, text: str, words: str) -> None:
    """The text of the refusal names the file and the path of the key."""
    with pytest.raises(SettingsError, match=words) as refusal:
        read(file, f"{MINIMAL}\n{text}\n")
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "default_upstream"),
        ('default_upstream = "registry.example.com"', "upstreams"),
        ('default_upstream = "other"\n[upstreams.x]\nurl = "http://x"', "default_upstream 'other'"),
    ],
    ids=["nothing", "no upstreams", "default that is not among them"],
)
def test_what_must_be_said(file: Path, text: str, words: str) -> None:
    """Without a default among its upstreams the daemon cannot know where pushes go."""
    with pytest.raises(SettingsError, match=words):
        read(file, text)


@pytest.mark.parametrize("keys", ['url = "https://me:hunter2@x"', 'url = "https://x"\nproxy = "http://me:hunter2@p:1"'])
def test_a_password_in_a_url_is_not_shown(file: Path, keys: str) -> None:
    """It is refused, in words that do not repeat it."""
    with pytest.raises(SettingsError) as refusal:
        read(file, f"{MINIMAL}\n[upstreams.x]\n{keys}")
    assert "hunter2" not in str(refusal.value)


def test_no_file(tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text are refused by name."""
    no_text = tmp_path / "latin-1.toml"
    no_text.write_bytes(b'default_upstream = "\xe9"')
    for path in (tmp_path / "missing.toml", tmp_path, no_text):
        with pytest.raises(SettingsError, match=str(path)):
            load(path)
