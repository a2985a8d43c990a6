"""The settings file: checked as a whole, with words that name the offending key."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.config import Settings, SettingsError, Upstream, load

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

[http]
listen = "[::1]:5443"
catalog = true
idle = 5.0

[admin]
socket = "/tmp/admin.sock"

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
EXAMPLE = Path(__file__).parents[2] / "systemd/config.toml"


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
    assert settings.http.address == ("127.0.0.1", 5000)
    assert settings.containerd.address == Path("/run/containerd/containerd.sock")
    assert settings == Settings(default_upstream=settings.default_upstream, upstreams=settings.upstreams)


def test_every_section(file: Path) -> None:
    """Each key of the file arrives at its place, with its type, and differs from its default."""
    settings = read(file, EVERYTHING)
    expected: dict[str, dict[str, Any]] = {
        "http": {"listen": "[::1]:5443", "catalog": True, "idle": 5.0},
        "admin": {"socket": Path("/tmp/admin.sock")},  # noqa: S108 - never opened
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
    assert read(file, f'{MINIMAL}[http]\nlisten = "{listen}"').http.address == address


def test_the_example_loads(file: Path) -> None:
    """The file that is shipped works as it is, and what it shows commented out are the defaults."""
    settings = load(EXAMPLE)
    sections = EXAMPLE.read_text().partition("[http]")
    shown = re.sub(r"^# (?=\w+ = )", "", "".join(sections[1:]), flags=re.MULTILINE)
    assert read(file, MINIMAL + shown) == settings == read(file, MINIMAL)


def test_the_example_has_every_setting_of_an_upstream() -> None:
    """They have no defaults to compare with, but each is shown once."""
    table = EXAMPLE.read_text().partition("[upstreams.")[2].partition("\n\n")[0]
    shown = re.findall(r"^(?:# )?(\w+) = ", table, flags=re.MULTILINE)
    assert sorted(shown) == sorted(field.name for field in msgspec.structs.fields(Upstream))


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
    "listen without port": ('[http]\nlisten = "localhost"', r"listen.*\$\.http"),
    "listen without host": ('[http]\nlisten = ":5000"', r"listen.*\$\.http"),
    "listen with a port in words": ('[http]\nlisten = "localhost:http"', r"listen.*\$\.http"),
    "listen beyond the last port": ('[http]\nlisten = "localhost:65536"', r"listen.*\$\.http"),
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
