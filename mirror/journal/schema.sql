-- What a kill -9 must not take. Times are Unix seconds.

-- This repository holds this content. media_type: of a manifest, null for a blob.
-- lease: what has held a blob since its upload, null once an image refers to it.
CREATE TABLE grants (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT,
    lease TEXT,
    PRIMARY KEY (registry, repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_digest ON grants (registry, digest);

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

-- Acknowledged manifests. AUTOINCREMENT: an id is never used again, so a greater one always means later.
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
    kind TEXT NOT NULL CHECK (kind IN ('replicate', 'unpack')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'skipped', 'parked')),
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_unfinished ON tasks (kind, state, job) WHERE state IN ('pending', 'running', 'parked');
