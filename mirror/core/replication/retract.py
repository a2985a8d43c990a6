"""Deleting upstream what was deleted here, where the settings of the upstream say so."""

from collections.abc import Mapping

from mirror.core.jobs import Job, Outcome, State, Task
from mirror.core.ports import Jobs, Upstream
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.replicator import find_upstream
from mirror.oci.manifest import parse_manifest


class Retractor:
    """The use case behind every `delete` task."""

    def __init__(self, *, jobs: Jobs, upstreams: Mapping[str, Upstream], fallback: FallbackTags) -> None:
        self._jobs = jobs
        self._upstreams = upstreams
        self._fallback = fallback

    async def attempt(self, task: Task) -> Outcome:
        """Delete one name, unless a later push of it overtook this while it was parked. Raises UpstreamError."""
        job = task.job
        if await self._jobs.pushed_again(job):
            return Outcome(State.SKIPPED, "pushed again since")
        upstream = find_upstream(self._upstreams, job)
        if job.reference.digest is not None:
            await self._unlist(upstream, job)
        if await upstream.delete_manifest(job.repository, str(job.reference)):
            return Outcome(State.DONE)
        return Outcome(State.SKIPPED, "it was not there")

    async def _unlist(self, upstream: Upstream, job: Job) -> None:
        """Take a referrer off the list of its subject, before it goes itself: no list may name what is not there."""
        raw = await upstream.get_manifest(job.repository, job.digest, job.media_type)
        if raw is not None:
            await self._fallback.remove(upstream, job.repository, parse_manifest(raw, job.media_type))
