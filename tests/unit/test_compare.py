"""The comparison of journal and containerd: what is wrong, and above all what is not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.jobs import Job
from mirror.core.ports import Grant, Image
from mirror.core.publish import JOB_LEASES
from mirror.core.push import UPLOADS
from mirror.core.reconcile import compare
from mirror.core.reconcile.compare import Loose, Need, Needed, Owners, Tag
from mirror.core.reconcile.findings import UnknownTag
from mirror.core.replication.restore import RESTORES
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.oci.names import Digest, Reference, Repository, digest_of

REPOSITORY = Repository("registry.example.com", "team/app")
OTHER = Repository("registry.example.com", "team/other")
V1 = Reference(tag="v1", digest=None)
DIGESTS = [digest_of(bytes([number])) for number in range(6)]
ONE, TWO = DIGESTS[:2]

names = st.builds(
    str.__add__,
    st.sampled_from([JOB_LEASES, UPLOADS, RESTORES, "registry-mirror/seen/", "registry-mirror/repair/"]),
    st.sampled_from("abcd"),
)
some_names = st.frozensets(names)
loose = st.builds(Loose, some_names, some_names, some_names)
owners = st.builds(Owners, some_names, some_names, some_names, some_names)
contents = st.frozensets(st.sampled_from(DIGESTS))
grants = st.builds(
    Grant,
    st.sampled_from([REPOSITORY, OTHER]),
    st.sampled_from(DIGESTS),
    st.sampled_from([None, "lease"]),
    st.booleans(),
)


def job(number: int = 1, digest: Digest = ONE, created: float = 10.0) -> Job:
    return Job(number, REPOSITORY, V1, digest, OCI_MANIFEST, f"{JOB_LEASES}{number}", created)


needs = st.builds(
    Need,
    st.just(job()),
    held=contents,
    children=contents,
    family=contents,
    is_known=st.booleans(),
    is_parked=st.booleans(),
)


class TestOrphans:
    @given(loose, loose, owners)
    def test_never_what_has_an_owner(self, before: Loose, after: Loose, owners: Owners) -> None:
        """Nor what is in flight, nor what came after the owners were asked for, nor what is gone since."""
        for finding in compare.orphans(before, after, owners):
            there = (before.leases & after.leases) | (before.ingests & after.ingests) | (before.halves & after.halves)
            assert finding.subject in there
            if finding.kind == "orphan lease":
                assert finding.subject not in owners.jobs | owners.sessions | owners.grants | owners.in_flight
            if finding.kind == "orphan ingest":
                assert finding.subject not in owners.sessions | owners.in_flight

    @given(loose, owners)
    def test_all_that_has_none(self, loose: Loose, owners: Owners) -> None:
        """Of the kinds that do not end by themselves."""
        found = {(finding.kind, finding.subject) for finding in compare.orphans(loose, loose, owners)}
        for lease in loose.leases - owners.leases:
            assert (("orphan lease", lease) in found) == lease.startswith((JOB_LEASES, UPLOADS))
        for ingest in loose.ingests - owners.ingests:
            assert (("orphan ingest", ingest) in found) == ingest.startswith((UPLOADS, RESTORES))

    @given(loose, owners)
    def test_once_they_are_gone_there_are_none(self, loose: Loose, owners: Owners) -> None:
        """What is removed is not found again."""
        gone = {finding.subject for finding in compare.orphans(loose, loose, owners)}
        left = Loose(loose.leases - gone, loose.ingests - gone, loose.halves - gone)
        assert list(compare.orphans(left, left, owners)) == []


@pytest.mark.parametrize(("newest", "found"), [(2, [1, 2]), (1, [1])])
def test_missing_leases(newest: int, found: list[int]) -> None:
    """Of a job that is younger than the list of leases nothing can be said."""
    jobs = [job(1), job(2), job(3)]
    assert [one.job.id for one in compare.missing_leases(jobs, {f"{JOB_LEASES}3"}, newest)] == found


class TestMisses:
    @given(needs, contents)
    def test_what_is_there_and_held_is_no_miss(self, need: Need, content: frozenset[Digest]) -> None:
        """Each digest is missed in one way only, and only if the job needs it."""
        found = {one.kind: set(one.digests) for one in compare.misses(need, {need.job.lease}, content)}
        assert found.get("loose content", set()) == (set(need.children) & content) - set(need.held)
        assert found.get("gone content", set()) == set(need.family) - content

    @given(needs, contents)
    def test_without_a_lease_nothing_is_loose(self, need: Need, content: frozenset[Digest]) -> None:
        """That the lease is missing is said elsewhere."""
        assert "loose content" not in {one.kind for one in compare.misses(need, set(), content)}


def tag(newest: Job | None, media_type: str | None = OCI_MANIFEST, updated: float = 20.0) -> Tag:
    """A record that points to ONE."""
    return Tag(Image(REPOSITORY.image(V1), Descriptor(ONE, 7), updated), REPOSITORY, V1, media_type, newest)


DELETE = replace(job(), lease="")


class TestUnknownTags:
    @pytest.mark.parametrize("newest", [None, job(digest=TWO), DELETE])
    def test_made_or_moved_by_others(self, newest: Job | None) -> None:
        """There is no job, or the newest one is for something else, or for a delete; and the record is younger."""
        assert compare.unknown_tag(tag(newest), {ONE}, Owners(), 1) == UnknownTag(REPOSITORY, V1, ONE, OCI_MANIFEST)

    @pytest.mark.parametrize(
        "tag",
        [
            pytest.param(tag(job()), id="its own job"),
            pytest.param(tag(None, None), id="never granted"),
            pytest.param(tag(job(digest=TWO), updated=10.0), id="older than the push that is about to move it"),
            pytest.param(tag(DELETE, updated=9.0), id="older than the delete that is about to remove it"),
            pytest.param(tag(job(2, TWO)), id="a job that came since"),
        ],
    )
    def test_as_it_should_be(self, tag: Tag) -> None:
        """Whatever of ours has to do with it settles it."""
        assert compare.unknown_tag(tag, {ONE}, Owners(), 1) is None

    def test_in_flight(self) -> None:
        """A push that has its job may not have moved the record yet, even if the clock says that it must have."""
        assert (
            compare.unknown_tag(tag(job(digest=TWO)), {ONE}, Owners(in_flight=frozenset({f"{JOB_LEASES}1"})), 1) is None
        )

    def test_of_content_that_is_gone(self) -> None:
        """There is nothing to bring upstream."""
        assert compare.unknown_tag(tag(None), set(), Owners(), 1) is None


class TestGrants:
    @given(st.lists(grants), contents, needs)
    def test_never_what_is_there_or_needed(self, page: Sequence[Grant], content: frozenset[Digest], need: Need) -> None:
        """A grant is stale only if its content is gone, and spent only if it is revoked, and no job needs either."""
        needed = Needed()
        needed.add(need)
        stale = [grant for one in compare.stale_grants(page, content, needed) for grant in one.grants]
        for grant in [*stale, *compare.spent_grants(page, needed)]:
            assert grant.repository != REPOSITORY or need.is_known
            assert grant.repository != REPOSITORY or grant.digest not in need.children | need.family
        assert all(grant.digest not in content and not grant.is_revoked for grant in stale)

    @given(st.lists(grants), contents)
    def test_all_that_nobody_needs(self, page: Sequence[Grant], content: frozenset[Digest]) -> None:
        """Each grant of content that is gone is in exactly one of the two, and under its own repository."""
        found = list(compare.stale_grants(page, content, Needed()))
        assert all(grant.repository == one.repository for one in found for grant in one.grants)
        stale = [grant for one in found for grant in one.grants]
        spent = compare.spent_grants(page, Needed())
        assert stale == [grant for grant in page if not grant.is_revoked and grant.digest not in content]
        assert spent == [grant for grant in page if grant.is_revoked]
