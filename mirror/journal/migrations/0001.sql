-- What a kill -9 must not take. Times are Unix seconds.

-- This repository holds this content. media_type: of a manifest, null for a blob.
-- lease: what has held a blob since its upload, null once an image refers to it.
-- revoked: it was deleted here, but what was acknowledged before still takes it upstream.
CREATE TABLE grants (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT,
    lease TEXT,
    revoked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (registry, repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_digest ON grants (registry, digest);
CREATE VIEW holdings AS SELECT * FROM grants WHERE NOT revoked;

-- Manifests that say something about another one, as they are listed there (JSON).
CREATE TABLE referrers (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    subject TEXT NOT NULL,
    digest TEXT NOT NULL,
    descriptor BLOB NOT NULL,
    PRIMARY KEY (registry, repository, subject, digest)
) STRICT;

-- Upload sessions. Their bytes are in the containerd ingest of the same id.
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    touched REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Acknowledged pushes and deletes; the lease of a delete is empty. AUTOINCREMENT: an id is never used again, so a greater one always means later.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    lease TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX jobs_by_tag ON jobs (registry, repository, tag);
CREATE INDEX jobs_by_digest ON jobs (registry, repository, digest);

-- What is to be done for a job.
CREATE TABLE tasks (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('replicate', 'unpack', 'delete')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'skipped', 'parked')),
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_unfinished ON tasks (kind, state, job) WHERE state IN ('pending', 'running', 'parked');

-- Waiting tasks that nothing stands in the way of but their time.
CREATE VIEW ready AS SELECT t.job, t.kind, t.not_before FROM tasks t JOIN jobs j ON j.id = t.job
WHERE t.state = 'pending'
-- Two tasks of one tag are never run side by side: the later push must also be the later one upstream.
AND NOT EXISTS (
    SELECT 1 FROM tasks r JOIN jobs k ON k.id = r.job
    WHERE r.kind = t.kind AND r.state = 'running'
    AND k.registry = j.registry AND k.repository = j.repository AND k.tag = j.tag
)
-- A delete waits for the pushes before it, and a push for the deletes before it.
AND NOT EXISTS (
    SELECT 1 FROM tasks e JOIN jobs k ON k.id = e.job
    WHERE (e.kind, t.kind) IN (VALUES ('replicate', 'delete'), ('delete', 'replicate'))
    AND e.state IN ('pending', 'running') AND k.id < j.id
    AND k.registry = j.registry AND k.repository = j.repository AND (k.tag = j.tag OR k.digest = j.digest)
);
