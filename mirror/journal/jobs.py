"""Acknowledged manifests and what is still to be done for them."""

import sqlite3

import msgspec

from mirror.core.jobs import Job, Kind, NewDelete, NewJob, Outcome, State, Task
from mirror.core.ports import OLDEST, Queued, Rule
from mirror.core.timeline import Arrival, Blobs, Timeline
from mirror.core.trace import Trace
from mirror.journal.db import Database, Session
from mirror.journal.grants import content_key, insert_referrer
from mirror.oci.names import Digest, Reference, Repository

_ARRIVAL = ("first_byte", "last_byte", "sent_blobs", "sent_bytes", "present_blobs", "present_bytes")


class JobsTable:
    """The `Jobs` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enqueue(self, push: NewJob) -> Job:
        """In one transaction: a job with its tasks, and the repository is granted the manifest."""

        def work(session: Session) -> Job:
            where = content_key(push.repository, push.digest)
            session.rows("grant_manifest", **where, media_type=push.media_type)
            if push.subject and push.referrer:
                insert_referrer(session, push.repository, push.digest, push.subject, push.referrer)
            return _insert(session, push, push.lease, push.kinds)

        return await self._database.transact(work)

    async def enqueue_delete(self, delete: NewDelete) -> Job:
        """A job with the one task to delete upstream what was deleted here."""
        return await self._database.transact(lambda session: _insert(session, delete, "", (Kind.DELETE,)))

    async def claim(self, kind: Kind, now: float, horizon: float, rule: Rule = OLDEST) -> Task | None:
        """Take the due task that is next and mark it running."""
        closed, newest, gives_way = _array(rule.closed), rule.newest, rule.gives_way

        def claim(session: Session, running: int) -> sqlite3.Row | None:
            return session.row(
                "claim",
                kind=kind,
                gives_way=gives_way,
                now=now,
                horizon=horizon,
                closed=closed,
                newest=newest,
                running=running,
            )

        def work(session: Session) -> sqlite3.Row | None:
            running = session.rows("shares", kind=kind, gives_way=gives_way)
            shares = [0, *(row["running"] for row in running)]
            claimed = next(filter(None, (claim(session, running) for running in shares)), None)
            if claimed is None:
                return None
            session.rows("task_begun", job=claimed["job"], kind=kind, now=now)
            return session.row("find_task", job=claimed["job"], kind=kind)

        row = await self._database.transact(work)
        return _task(row) if row else None

    async def next_due(self, kind: Kind, rule: Rule = OLDEST) -> float | None:
        """Unix time at which the next task falls due, but for those that wait for another task to end."""
        closed, gives_way = _array(rule.closed), rule.gives_way
        row = await self._database.transact(
            lambda session: session.row("next_due", kind=kind, gives_way=gives_way, closed=closed)
        )
        return row["due"] if row else None

    async def settle(self, task: Task, outcome: Outcome, now: float | None = None) -> None:
        """Write how an attempt ended; once a job is done, those of the same name before it are forgotten."""

        def work(session: Session) -> None:
            session.rows(
                "settle_task",
                job=task.job.id,
                kind=task.kind,
                state=outcome.state,
                reason=outcome.reason,
                not_before=outcome.not_before,
                failed=int(outcome.state in {State.PENDING, State.PARKED}),
            )
            if outcome.state in {State.DONE, State.SKIPPED}:
                session.rows("task_over", job=task.job.id, kind=task.kind, now=now)
            session.rows("forget_superseded", job=task.job.id)

        await self._database.transact(work)

    async def superseded(self, job: Job) -> bool:
        """Whether its tag was pushed again later."""
        row = await self._database.transact(
            lambda session: session.row(
                "superseded",
                registry=job.repository.registry,
                repository=job.repository.path,
                tag=job.reference.tag,
                job=job.id,
            )
        )
        return row is not None

    async def held(self) -> list[Job]:
        """The jobs whose lease must be kept."""
        return await self._database.transact(lambda session: [read_job(row) for row in session.rows("held_jobs")])

    async def needs_lease(self, job: Job) -> bool:
        """Whether a job is among those of `held`."""
        row = await self._database.transact(lambda session: session.row("needs_lease", job=job.id))
        return row is not None

    async def find(self, repository: Repository, reference: Reference) -> tuple[Task, ...]:
        """The tasks of the newest job of this tag or digest."""
        query, key = ("find_by_tag", "tag") if reference.tag else ("find_by_digest", "digest")
        values = {"registry": repository.registry, "repository": repository.path, key: str(reference)}
        rows = await self._database.transact(lambda session: session.rows(query, **values))
        return tuple(_task(row) for row in rows)

    async def unfinished(self, limit: int) -> list[Task]:
        """Tasks that are waiting, running or parked, oldest first."""
        rows = await self._database.transact(lambda session: session.rows("unfinished", limit=limit))
        return [_task(row) for row in rows]

    async def counts(self) -> dict[tuple[Kind, State], int]:
        """How many tasks there are of each kind in each state."""
        rows = await self._database.transact(lambda session: session.rows("counts"))
        return {(Kind(row["kind"]), State(row["state"])): row["tasks"] for row in rows}

    async def tasks(self, job_id: int) -> tuple[Task, ...]:
        """The tasks of one job."""
        rows = await self._database.transact(lambda session: session.rows("job_tasks", job=job_id))
        return tuple(_task(row) for row in rows)

    async def newest(self) -> int:
        """The greatest id of a job, 0 when there is none."""
        row = await self._database.transact(lambda session: session.row("newest_job"))
        return row["job"] if row else 0

    async def since(self, job_id: int, limit: int) -> list[Task]:
        """The tasks of jobs that are not over, and of those after `job_id`."""
        rows = await self._database.transact(lambda session: session.rows("tasks_since", job=job_id, limit=limit))
        return [_task(row) for row in rows]

    async def in_state(self, state: State, limit: int) -> list[Task]:
        """The tasks in a state, oldest first."""
        rows = await self._database.transact(lambda session: session.rows("in_state", state=state, limit=limit))
        return [_task(row) for row in rows]

    async def retry(self, job_id: int | None) -> list[tuple[int, Kind]]:
        """Tasks that are parked or wait for a time are due now."""
        rows = await self._database.transact(lambda session: session.rows("retry", job=job_id))
        return [(row["job"], Kind(row["kind"])) for row in rows]

    async def cancel(self, job_id: int, reason: str) -> list[Kind]:
        """Give up a job's tasks that are parked or wait."""
        rows = await self._database.transact(lambda session: session.rows("cancel", job=job_id, reason=reason))
        return [Kind(row["kind"]) for row in rows]

    async def pushed_again(self, job: Job) -> bool:
        """Whether a later push brought upstream again what a delete names."""
        row = await self._database.transact(
            lambda session: session.row(
                "pushed_again",
                registry=job.repository.registry,
                repository=job.repository.path,
                tag=job.reference.tag,
                digest=job.digest,
                job=job.id,
            )
        )
        return row is not None

    async def queue(self) -> list[Queued]:
        """What is not over, by kind and state."""
        rows = await self._database.transact(lambda session: session.rows("queue"))
        return [Queued(Kind(row["kind"]), State(row["state"]), row["tasks"], row["oldest"]) for row in rows]

    async def backlog(self) -> dict[State, int]:
        """How many tasks there are in each of the states that are not over."""
        rows = await self._database.transact(lambda session: session.rows("backlog"))
        return {State(row["state"]): row["tasks"] for row in rows}

    async def expedite(self, job_id: int) -> None:
        """The tasks of a job that wait for a time are due now."""
        await self._database.transact(lambda session: session.rows("expedite", job=job_id))

    async def hurry(self, registry: str | None) -> None:
        """What waits for a time, or only what waits for the upstream of a registry, is due now."""
        await self._database.transact(lambda session: session.rows("hurry", registry=registry))


def _array(names: frozenset[str]) -> str:
    """Names as the JSON that a query takes for a list."""
    return msgspec.json.encode(sorted(names)).decode()


def _insert(session: Session, new: NewJob | NewDelete, lease: str, kinds: tuple[Kind, ...]) -> Job:
    arrival, trace = (new.arrival, new.trace) if isinstance(new, NewJob) else (None, None)
    job_id = session.insert(
        "insert_job",
        registry=new.repository.registry,
        repository=new.repository.path,
        tag=new.reference.tag,
        digest=new.digest,
        media_type=new.media_type,
        lease=lease,
        created=new.now,
        subject=new.subject if isinstance(new, NewJob) else None,
        traceparent=trace.parent if trace else None,
        tracestate=trace.state if trace else None,
        **_arrival_values(arrival),
    )
    for kind in kinds:
        gives_way = isinstance(new, NewJob) and new.gives_way(kind)
        session.rows("insert_task", job=job_id, kind=kind, gives_way=gives_way)
    timeline = Timeline(arrival)
    return Job(job_id, new.repository, new.reference, new.digest, new.media_type, lease, new.now, timeline, trace)


def _arrival_values(arrival: Arrival | None) -> dict[str, float | None]:
    if arrival is None:
        return dict.fromkeys(_ARRIVAL)
    sent, present = arrival.sent, arrival.present
    values = (arrival.first_byte, arrival.last_byte, sent.count, sent.bytes, present.count, present.bytes)
    return dict(zip(_ARRIVAL, values, strict=True))


def _task(row: sqlite3.Row) -> Task:
    return Task(
        job=read_job(row),
        kind=Kind(row["kind"]),
        state=State(row["state"]),
        attempts=row["attempts"],
        not_before=row["not_before"],
        reason=row["reason"],
        gives_way=bool(row["gives_way"]),
    )


def read_job(row: sqlite3.Row) -> Job:
    """A row of `jobs`."""
    tag = row["tag"]
    return Job(
        id=row["id"],
        repository=Repository(row["registry"], row["repository"]),
        reference=Reference(tag=tag, digest=None if tag else Digest(row["digest"])),
        digest=Digest(row["digest"]),
        media_type=row["media_type"],
        lease=row["lease"],
        created=row["created"],
        timeline=_timeline(row),
        trace=Trace(row["traceparent"], row["tracestate"]) if row["traceparent"] else None,
    )


def _timeline(row: sqlite3.Row) -> Timeline:
    arrival = None
    first_byte, last_byte, *blobs = (row[name] for name in _ARRIVAL)
    if first_byte is not None:
        arrival = Arrival(first_byte, last_byte, Blobs(*blobs[:2]), Blobs(*blobs[2:]))
    return Timeline(arrival, row["unpack_begun"], row["unpacked"], row["replication_begun"], row["replicated"])
