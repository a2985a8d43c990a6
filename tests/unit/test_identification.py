"""Who is calling: each kind of proof, and what counts before what."""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import bcrypt
import pytest

from mirror.core.access import ANONYMOUS, Principal, Scope
from mirror.identity.caller import Caller, TooManyLoginsError, UnidentifiedError
from mirror.identity.certificates import Certificates, subject_of
from mirror.identity.htpasswd import Htpasswd
from mirror.identity.identification import Identification
from mirror.identity.issuer import Issuer
from mirror.identity.networks import Networks
from mirror.identity.tokens import TokenList
from mirror.runtime.watched import UnusableFileError
from tests.unit.clock import ManualClock

ALICE = Principal("basic", "alice")
TOKEN = "mirror-7f0b3f4c5d"  # noqa: S105 - of a test


def bcrypted(password: str, *, cost: int = 4) -> str:
    """A hash of the cheapest kind."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(user: str, password: str) -> str:
    """The value of the header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def put(file: Path, user: str, password: str, *, cost: int = 4) -> None:
    """Make it a file of one user."""
    file.write_text(f"{user}:{bcrypted(password, cost=cost)}\n")


def remove(file: Path) -> None:
    """Take it away."""
    file.unlink()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with two users."""
    file = tmp_path / "htpasswd"
    file.write_text(f"# ours\nalice:{bcrypted('sesame: öffne')}\n\nbob:{bcrypted('12345')}\n")
    return file


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file with one token."""
    file = tmp_path / "tokens"
    file.write_text(f"# ours\nci:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    return file


class TestNetworks:
    NETWORKS: Mapping[str, str] = {
        "fdaa:0:18::/48": "acme",
        "fdaa:0:18:a::/64": "acme-ci",
        "10.0.0.0/8": "globex",
        "10.1.2.3/32": "initech",
    }

    @pytest.mark.parametrize(
        ("address", "name", "tenant"),
        [
            ("fdaa:0:18:b::3", "fdaa:0:18::/48", "acme"),
            ("fdaa:0:18:a::3", "fdaa:0:18:a::/64", "acme-ci"),
            ("fdaa:0:18:b::3%eth0", "fdaa:0:18::/48", "acme"),
            ("10.9.9.9", "10.0.0.0/8", "globex"),
            ("10.1.2.3", "10.1.2.3/32", "initech"),
            ("::ffff:10.9.9.9", "10.0.0.0/8", "globex"),
        ],
    )
    def test_the_smallest_counts(self, address: str, name: str, tenant: str) -> None:
        """With its own name, however the address is written."""
        assert Networks(self.NETWORKS).principal(address) == Principal("network", name, tenant)

    @pytest.mark.parametrize("address", ["fdaa:0:19::1", "11.0.0.1", "::a00:1", "127.0.0.1"])
    def test_nobody_is_there(self, address: str) -> None:
        """Elsewhere is nowhere; an IPv6 address that ends like one of IPv4 is not it."""
        assert Networks(self.NETWORKS).principal(address) is None


class TestHtpasswd:
    @pytest.mark.parametrize(
        ("user", "password", "right"),
        [
            ("alice", "sesame: öffne", True),
            ("bob", "12345", True),
            ("alice", "12345", False),
            ("alice", "", False),
            ("carol", "12345", False),
            ("alice", "sesame: öffne\0", False),
            ("alice", "a" * 73, False),
        ],
    )
    async def test_users(self, users: Path, clock: ManualClock, user: str, password: str, right: bool) -> None:  # noqa: FBT001 - a column
        """The first time it is compared, the second time it is known."""
        file = Htpasswd(users, clock)
        for _ in range(2):
            found = await file.principal(user, password, "10.0.0.1")
            assert found == (Principal("basic", user) if right else None)

    async def test_a_change_counts_at_once(self, users: Path, clock: ManualClock) -> None:
        """What was known of the file before it does not."""
        file = Htpasswd(users, clock)
        assert await file.principal("bob", "12345", "")
        put(users, "bob", "other")
        assert await file.principal("bob", "12345", "") is None
        assert await file.principal("bob", "other", "")

    @pytest.mark.parametrize("password", ["12345", "wrong"])
    async def test_what_came_of_it_is_remembered(
        self, users: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, password: str
    ) -> None:
        """For five minutes there is one comparison, right or wrong."""
        file, compared = Htpasswd(users, clock), list[bytes]()
        checkpw = bcrypt.checkpw

        def count(secret: bytes, hashed: bytes) -> bool:
            compared.append(secret)
            return checkpw(secret, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", count)
        for passes in (0, 299, 2):
            clock.advance(passes)
            await file.principal("bob", password, "")
        assert compared == [password.encode()] * 2

    async def test_nobody_waits_for_those_who_guess(self, users: Path, clock: ManualClock) -> None:
        """Of one source eight are compared or wait, the rest are refused; another source is not concerned."""
        put(users, "bob", "12345", cost=6)
        file = Htpasswd(users, clock)
        guesses = [file.principal("bob", f"guess {number}", "10.0.0.1") for number in range(20)]
        *refused, somebody = await asyncio.gather(
            *guesses, file.principal("bob", "12345", "10.0.0.2"), return_exceptions=True
        )
        assert sum(isinstance(outcome, TooManyLoginsError) for outcome in refused) == 12
        assert somebody == Principal("basic", "bob")
        assert await file.principal("bob", "12345", "10.0.0.1")

    @pytest.mark.parametrize(
        "line", ["alice", "alice:plain", "alice:$apr1$x$y", ":$2b$04$" + "." * 53], ids=("name", "plain", "md5", "hash")
    )
    def test_what_is_no_user(self, users: Path, clock: ManualClock, line: str) -> None:
        """The line is named, and not told."""
        users.write_text(f"# users\n{line}\n")
        with pytest.raises(UnusableFileError, match="htpasswd: line 2 is not user:hash") as refusal:
            Htpasswd(users, clock).check()
        assert line not in str(refusal.value)


class TestTokenList:
    def test_tokens(self, tokens: Path) -> None:
        """Whoever has one is called as its line."""
        listed = TokenList(tokens)
        assert listed.principal(TOKEN) == Principal("token", "ci")
        assert listed.principal(TOKEN + "x") is None
        assert listed.principal("") is None

    def test_the_hash_is_no_token(self, tokens: Path) -> None:
        """The file is of no use to whoever reads it."""
        assert TokenList(tokens).principal(hashlib.sha256(TOKEN.encode()).hexdigest()) is None

    def test_one_that_is_taken_back(self, tokens: Path) -> None:
        """It is not taken from the next use on."""
        listed = TokenList(tokens)
        assert listed.principal(TOKEN)
        tokens.write_text("")
        assert listed.principal(TOKEN) is None

    @pytest.mark.parametrize("line", ["ci", f"ci:{TOKEN}", f"ci:{'A' * 64}"])
    def test_what_is_no_hash(self, tokens: Path, line: str) -> None:
        """A token that somebody wrote there as it is comes into no message."""
        tokens.write_text(line)
        with pytest.raises(UnusableFileError, match="line 1 is not name:hash") as refusal:
            TokenList(tokens).check()
        assert TOKEN not in str(refusal.value)


class TestCertificates:
    SUBJECT: Mapping[str, object] = {
        "subject": ((("organizationName", "acme, inc"),), (("commonName", "ci-7"), ("userId", "7")))
    }

    def test_the_subject(self) -> None:
        """In its order, and written so that no value can pretend to be more attributes."""
        principal = Certificates("O").principal(subject_of(self.SUBJECT))
        assert principal == Principal("certificate", "O=acme\\, inc,CN=ci-7,UID=7", "acme, inc")

    @pytest.mark.parametrize(
        ("subject", "attribute"),
        [((("O", "a"), ("O", "b")), "O"), ((("CN", "ci"),), "O"), ((("CN", "ci"), ("O", "a")), None)],
    )
    def test_no_tenant(self, subject: tuple[tuple[str, str], ...], attribute: str | None) -> None:
        """Two are as good as none."""
        assert not Certificates(attribute).principal(subject).tenant


class TestIdentification:
    @pytest.fixture
    def everything(self, users: Path, tokens: Path, clock: ManualClock) -> Identification:
        return Identification(
            logins=Htpasswd(users, clock),
            bearers=[Issuer(clock, 60), TokenList(tokens)],
            certificates=Certificates("O"),
            networks=Networks({"10.0.0.0/8": "globex"}),
            tenants={"basic:alice": "acme", "token:ci": "acme"},
        )

    @pytest.mark.parametrize(
        ("caller", "expected"),
        [
            (Caller(), ANONYMOUS),
            (Caller("192.0.2.1"), ANONYMOUS),
            (Caller("10.0.0.1"), Principal("network", "10.0.0.0/8", "globex")),
            (Caller("10.0.0.1", subject=(("O", "initech"),)), Principal("certificate", "O=initech", "initech")),
            (Caller("10.0.0.1", basic("alice", "sesame: öffne")), Principal("basic", "alice", "acme")),
            (Caller("10.0.0.1", basic("bob", "12345"), (("O", "initech"),)), Principal("basic", "bob")),
            (Caller("10.0.0.1", f"Bearer {TOKEN}"), Principal("token", "ci", "acme")),
            (Caller("10.0.0.1", f"bearer  {TOKEN} "), Principal("token", "ci", "acme")),
            (Caller("10.0.0.1", basic("token", TOKEN)), Principal("token", "ci", "acme")),
        ],
    )
    async def test_what_counts(self, everything: Identification, caller: Caller, expected: Principal) -> None:
        """What is shown, then the certificate, then the place."""
        assert await everything.identify(caller) == expected

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Basic",
            "Basic !",
            "Basic ö",
            "Basic " + base64.b64encode(b"alice").decode(),
            "Basic " + base64.b64encode(b"\xff:\xff").decode(),
            basic("alice", "wrong"),
            basic("token", "wrong"),
            "Bearer",
            "Bearer wrong",
            "Bearer ö\udcff",
            "Bearer a.b.c",
            f"Digest {TOKEN}",
            TOKEN,
        ],
    )
    async def test_what_is_not_accepted(self, everything: Identification, authorization: str) -> None:
        """Nobody becomes the one from his network by a wrong password; and nothing of it is told."""
        with pytest.raises(UnidentifiedError) as refusal:
            await everything.identify(Caller("10.0.0.1", authorization))
        assert TOKEN not in str(refusal.value)
        assert "wrong" not in str(refusal.value)

    async def test_a_header_that_nobody_asked_for(self) -> None:
        """Where there are no credentials of any kind, what clients send all the same is passed over."""
        networks = Identification(networks=Networks({"10.0.0.0/8": "globex"}))
        assert (await networks.identify(Caller("10.0.0.1", "Basic nonsense"))).tenant == "globex"

    async def test_whose_listener_it_is(self) -> None:
        """It is the last word, and no way around a wrong password."""
        listener = Principal("listener", "local", "acme")
        assert await Identification(otherwise=listener).identify(Caller()) == listener

    async def test_a_file_that_went(self, everything: Identification, users: Path) -> None:
        """Nobody can tell who it is: that is not the caller's fault."""
        remove(users)
        with pytest.raises(UnusableFileError):
            await everything.identify(Caller(authorization=basic("alice", "sesame: öffne")))

    def test_no_secret_in_a_repr(self) -> None:
        """A caller can be logged."""
        assert TOKEN not in repr(Caller(authorization=f"Bearer {TOKEN}"))

    async def test_what_it_gave_itself(self, clock: ManualClock) -> None:
        """A token of ours stands for whom it was given to, with no more than was granted."""
        issuer = Issuer(clock, 60)
        scope = Scope("acme/app", frozenset())
        issued = issuer.issue(Principal("basic", "alice", "acme"), [scope])
        shown = Caller(authorization=f"Bearer {issued.token}")
        identification = Identification(bearers=[issuer])
        assert await identification.identify(shown) == Principal("basic", "alice", "acme", frozenset({scope}))
        clock.advance(60)
        with pytest.raises(UnidentifiedError, match="not good any more"):
            await identification.identify(shown)
