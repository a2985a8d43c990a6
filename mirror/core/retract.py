"""Deleting upstream what was deleted here, where the settings of the upstream say so."""

from collections.abc import Mapping

from mirror.core.jobs import Outcome, State, Task
from mirror.core.ports import Jobs, Upstream
from mirror.core.replicate import find_upstream


class Retractor:
    """The use case behind every `delete` task."""

    def __init__(self, *, jobs: Jobs, upstreams: Mapping[str, Upstream]) -> None:
        self._jobs = jobs
        self._upstreams = upstreams

    async def attempt(self, task: Task) -> Outcome:
        """Delete one name, unless a later push of it overtook this while it was parked. Raises UpstreamError."""
        job = task.job
        if await self._jobs.pushed_again(job):
            return Outcome(State.SKIPPED, "pushed again since")
        upstream = find_upstream(self._upstreams, job)
        if await upstream.delete_manifest(job.repository, str(job.reference)):
            return Outcome(State.DONE)
        return Outcome(State.SKIPPED, "it was not there")
