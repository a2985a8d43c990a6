-- Every statement of the journal, by name.

-- name: recover
UPDATE tasks SET state = 'pending' WHERE state = 'running';

-- name: forget_old_transfers
-- No upstream keeps an upload for longer that nobody goes on with.
DELETE FROM transfers WHERE noted < unixepoch() - 7 * 86400;

-- name: forget_old_sightings
DELETE FROM sightings WHERE seen < unixepoch() - 30 * 86400;

-- name: forget_old_conversions
DELETE FROM conversions WHERE noted < unixepoch() - 90 * 86400;

-- name: find_conversion
SELECT digest, size, uncompressed FROM conversions WHERE layer = :layer AND level = :level;

-- name: note_conversion
INSERT INTO conversions (layer, level, digest, size, uncompressed, noted)
VALUES (:layer, :level, :digest, :size, :uncompressed, :noted)
ON CONFLICT DO UPDATE SET digest = excluded.digest, size = excluded.size, uncompressed = excluded.uncompressed,
noted = excluded.noted;

-- name: begin_upload
INSERT INTO uploads (id, registry, repository, touched, owner)
VALUES (:id, :registry, :repository, :touched, :owner);

-- name: find_upload
SELECT id, registry, repository, touched, owner FROM uploads WHERE id = :id;

-- name: touch_upload
UPDATE uploads SET touched = :touched WHERE id = :id;

-- name: end_upload
DELETE FROM uploads WHERE id = :id;

-- name: stale_uploads
SELECT id, registry, repository, touched, owner FROM uploads WHERE touched < :before ORDER BY touched;

-- name: upload_ids
SELECT id FROM uploads;

-- name: held_since_upload
SELECT lease FROM grants WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: grant_blob
INSERT INTO grants (registry, repository, digest, lease, tenant, size)
VALUES (:registry, :repository, :digest, :lease, :tenant, :size)
ON CONFLICT DO UPDATE SET lease = excluded.lease, revoked = 0, tenant = excluded.tenant, size = excluded.size;

-- name: held_by_tenant
-- Without a blob that may come again.
SELECT bytes - coalesce((SELECT size FROM belongings WHERE tenant = :tenant AND digest = :besides), 0) AS bytes
FROM tenants WHERE tenant = :tenant;

-- name: grant_manifest
INSERT INTO grants (registry, repository, digest, media_type) VALUES (:registry, :repository, :digest, :media_type)
ON CONFLICT DO UPDATE SET media_type = excluded.media_type, revoked = 0, pulled = 0;

-- name: grant_pulled
-- What was pushed here stays that.
INSERT INTO grants (registry, repository, digest, media_type, lease, pulled)
VALUES (:registry, :repository, :digest, :media_type, :lease, 1)
ON CONFLICT DO UPDATE SET media_type = excluded.media_type, lease = excluded.lease, pulled = revoked OR pulled, revoked = 0;

-- name: find_pulled
SELECT lease FROM holdings
WHERE registry = :registry AND repository = :repository AND digest = :digest AND pulled;

-- name: find_grant
SELECT media_type FROM holdings
WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: was_granted
SELECT media_type FROM grants WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: revoke_grant
UPDATE grants SET revoked = 1, lease = NULL
WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: granted_anywhere
SELECT 1 FROM holdings WHERE registry = :registry AND digest = :digest LIMIT 1;

-- name: any_grant
SELECT 1 FROM holdings WHERE registry = :registry AND repository = :repository LIMIT 1;

-- name: repositories
-- From one to the next: DISTINCT would read all that each of them holds.
WITH RECURSIVE found (repository) AS (
    SELECT min(repository) FROM holdings WHERE registry = :registry AND repository > :after
    UNION ALL
    SELECT (SELECT min(repository) FROM holdings WHERE registry = :registry AND repository > found.repository)
    FROM found WHERE repository IS NOT NULL LIMIT :limit
)
SELECT repository FROM found WHERE repository IS NOT NULL;

-- name: insert_referrer
INSERT INTO referrers (registry, repository, subject, digest, descriptor)
VALUES (:registry, :repository, :subject, :digest, :descriptor) ON CONFLICT DO NOTHING;

-- name: find_referrers
SELECT descriptor FROM referrers WHERE registry = :registry AND repository = :repository AND subject = :subject
ORDER BY rowid;

-- name: forget_referrer
DELETE FROM referrers WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: settle_grant
UPDATE grants SET lease = NULL WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: leases_since_upload
SELECT lease FROM grants WHERE lease IS NOT NULL;

-- name: loose_grants
SELECT registry, repository, digest, lease, revoked FROM grants
WHERE lease IS NOT NULL AND substr(lease, 1, length(:prefix)) = :prefix;

-- name: grants_page
SELECT registry, repository, digest, lease, revoked FROM grants
WHERE (registry, repository, digest) > (:registry, :repository, :digest)
ORDER BY registry, repository, digest LIMIT :limit;

-- name: holders
SELECT registry, repository FROM holdings WHERE digest = :digest ORDER BY registry, repository;

-- name: drop_grant
UPDATE grants SET revoked = 1, lease = NULL
WHERE registry = :registry AND repository = :repository AND digest = :digest AND lease IS :lease AND NOT revoked
RETURNING 1;

-- name: forget_grant
-- A job that came since may need what was revoked.
DELETE FROM grants WHERE registry = :registry AND repository = :repository AND digest = :digest AND revoked
AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.registry = :registry AND j.repository = :repository AND j.id > :newest);

-- name: insert_job
INSERT INTO jobs (
    registry, repository, tag, digest, media_type, lease, created, subject,
    first_byte, last_byte, sent_blobs, sent_bytes, present_blobs, present_bytes, traceparent, tracestate
) VALUES (
    :registry, :repository, :tag, :digest, :media_type, :lease, :created, :subject,
    :first_byte, :last_byte, :sent_blobs, :sent_bytes, :present_blobs, :present_bytes, :traceparent, :tracestate
);

-- name: insert_task
INSERT INTO tasks (job, kind, state, gives_way) VALUES (:job, :kind, 'pending', :gives_way);

-- name: shares
-- How many tasks repositories have running.
SELECT DISTINCT count(*) AS running FROM running WHERE kind = :kind AND gives_way = :gives_way
GROUP BY registry, repository ORDER BY running;

-- name: claim
-- Of the repositories that have so many running. Whatever waits, it reads no further than to the first that is ready.
-- The plus keeps SQLite from walking the tasks by their time, when it is their order that counts.
WITH due AS NOT MATERIALIZED (
    SELECT job FROM ready WHERE kind = :kind AND gives_way = :gives_way
    AND (+not_before <= :now OR +not_before > :now + :horizon)
    AND registry NOT IN (SELECT value FROM json_each(:closed))
    AND (:running > 0) = ((registry, repository) IN (
        SELECT registry, repository FROM running WHERE kind = :kind AND gives_way = :gives_way
        GROUP BY registry, repository HAVING :running IN (0, count(*))
    ))
)
UPDATE tasks SET state = 'running' WHERE kind = :kind AND job = CASE
    WHEN :newest THEN (SELECT job FROM due ORDER BY job DESC LIMIT 1)
    ELSE (SELECT job FROM due ORDER BY job LIMIT 1)
END RETURNING job;

-- name: task_begun
UPDATE jobs SET
    unpack_begun = CASE WHEN :kind = 'unpack' THEN coalesce(unpack_begun, :now) ELSE unpack_begun END,
    replication_begun = CASE WHEN :kind = 'replicate' THEN coalesce(replication_begun, :now) ELSE replication_begun END
WHERE id = :job;

-- name: task_over
UPDATE jobs SET
    unpacked = CASE WHEN :kind = 'unpack' THEN :now ELSE unpacked END,
    replicated = CASE WHEN :kind = 'replicate' THEN :now ELSE replicated END
WHERE id = :job;

-- name: next_due
SELECT not_before AS due FROM ready
WHERE kind = :kind AND gives_way = :gives_way AND registry NOT IN (SELECT value FROM json_each(:closed))
ORDER BY not_before LIMIT 1;

-- name: hurry
UPDATE tasks SET not_before = 0 WHERE state = 'pending' AND not_before > 0 AND (
    :registry IS NULL OR (kind NOT IN ('unpack', 'convert') AND job IN (SELECT id FROM jobs WHERE registry = :registry))
);

-- name: expedite
UPDATE tasks SET not_before = 0 WHERE job = :job AND state = 'pending' AND not_before > 0;

-- name: settle_task
UPDATE tasks SET state = :state, reason = :reason, not_before = :not_before, attempts = attempts + :failed
WHERE job = :job AND kind = :kind;

-- name: forget_superseded
-- Of what is done, only the newest push of a name says anything; for a week others may still be asked for by digest.
DELETE FROM jobs WHERE id IN (
    SELECT old.id FROM jobs old JOIN jobs new ON new.id = :job
    WHERE old.id < new.id AND old.created < new.created - 7 * 86400
    AND old.registry = new.registry AND old.repository = new.repository
    AND (old.tag = new.tag OR (old.tag IS NULL AND new.tag IS NULL AND old.digest = new.digest))
    AND NOT EXISTS (SELECT 1 FROM tasks WHERE job = old.id AND state NOT IN ('done', 'skipped', 'cancelled'))
);

-- name: find_task
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.job = :job AND t.kind = :kind;

-- name: superseded
SELECT 1 FROM jobs WHERE registry = :registry AND repository = :repository AND tag = :tag AND id > :job LIMIT 1;

-- name: held_jobs
SELECT * FROM jobs WHERE lease <> '' AND id IN (
    SELECT job FROM tasks WHERE state IN ('pending', 'running') OR (kind = 'replicate' AND state = 'parked')
);

-- name: needs_lease
SELECT 1 FROM tasks WHERE job = :job
AND (state IN ('pending', 'running') OR (kind = 'replicate' AND state = 'parked'));

-- name: find_by_tag
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.job = (
    SELECT max(id) FROM jobs WHERE registry = :registry AND repository = :repository AND tag = :tag
);

-- name: find_by_digest
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.job = (
    -- The delete of a tag says nothing about what the tag stood for.
    SELECT max(id) FROM jobs WHERE registry = :registry AND repository = :repository AND digest = :digest
    AND (tag IS NULL OR lease <> '')
);

-- name: unfinished
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job
WHERE t.state IN ('pending', 'running', 'parked') ORDER BY t.job, t.kind LIMIT :limit;

-- name: counts
SELECT kind, state, count(*) AS tasks FROM tasks GROUP BY kind, state;

-- name: find_transfer
SELECT location, offset FROM transfers WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: note_transfer
INSERT INTO transfers (registry, repository, digest, location, offset, noted)
VALUES (:registry, :repository, :digest, :location, :offset, :noted)
ON CONFLICT DO UPDATE SET location = excluded.location, offset = excluded.offset, noted = excluded.noted;

-- name: forget_transfer
DELETE FROM transfers WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: saw_blob
INSERT INTO sightings (registry, digest, repository, seen) VALUES (:registry, :digest, :repository, :seen)
ON CONFLICT DO UPDATE SET seen = excluded.seen;

-- name: seen_elsewhere
SELECT repository FROM sightings WHERE registry = :registry AND digest = :digest AND repository <> :repository
ORDER BY seen DESC LIMIT 1;

-- name: job_tasks
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.job = :job ORDER BY t.kind;

-- name: newest_job
SELECT id AS job FROM jobs ORDER BY id DESC LIMIT 1;

-- name: tasks_since
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.job IN (
    SELECT job FROM tasks WHERE state IN ('pending', 'running', 'parked')
    UNION SELECT id FROM jobs WHERE id > :job
    ORDER BY 1 LIMIT :limit
) ORDER BY t.job, t.kind;

-- name: in_state
SELECT t.*, j.* FROM tasks t JOIN jobs j ON j.id = t.job WHERE t.state = :state ORDER BY t.job, t.kind LIMIT :limit;

-- name: retry
UPDATE tasks SET state = 'pending', not_before = 0
WHERE (:job IS NULL OR job = :job) AND (state = 'parked' OR (state = 'pending' AND not_before > 0))
RETURNING job, kind;

-- name: cancel
UPDATE tasks SET state = 'cancelled', reason = :reason, not_before = 0
WHERE job = :job AND state IN ('pending', 'parked')
AND NOT EXISTS (SELECT 1 FROM tasks r WHERE r.job = :job AND r.state = 'running' AND r.kind <> 'convert')
RETURNING kind;

-- name: pushed_again
-- A later push that still waits is no obstacle: it waits for the delete.
SELECT 1 FROM jobs j JOIN tasks t ON t.job = j.id AND t.kind = 'replicate' AND t.state IN ('running', 'done')
WHERE j.registry = :registry AND j.repository = :repository AND j.id > :job
AND (j.tag = :tag OR (:tag IS NULL AND j.digest = :digest)) LIMIT 1;

-- name: queue
-- Nobody waits for what gives way, so it is never the oldest.
SELECT q.kind, q.state, q.tasks, j.created AS oldest FROM (
    SELECT kind, state, count(*) AS tasks, min(iif(gives_way, NULL, job)) AS job FROM tasks
    WHERE state IN ('pending', 'running', 'parked') GROUP BY kind, state
) q LEFT JOIN jobs j ON j.id = q.job;

-- name: backlog
-- A variant is nothing that anybody has to wait for.
SELECT state, count(*) AS tasks FROM tasks
WHERE state IN ('pending', 'running', 'parked') AND kind <> 'convert' GROUP BY state;

-- name: find_upstream_tag
SELECT digest, asked FROM upstream_tags WHERE registry = :registry AND repository = :repository AND tag = :tag;

-- name: saw_upstream_tag
INSERT INTO upstream_tags (registry, repository, tag, digest, asked)
VALUES (:registry, :repository, :tag, :digest, :asked)
ON CONFLICT DO UPDATE SET digest = excluded.digest, asked = excluded.asked;

-- name: forget_upstream_tag
DELETE FROM upstream_tags WHERE registry = :registry AND repository = :repository AND tag = :tag;

-- name: forget_old_upstream_tags
DELETE FROM upstream_tags WHERE asked < unixepoch() - 30 * 86400;

-- name: pulls
SELECT g.registry, g.repository, g.digest, u.used FROM grants g
LEFT JOIN uses u ON u.registry = g.registry AND u.repository = g.repository AND u.digest = g.digest
WHERE g.pulled AND NOT g.revoked AND (g.registry, g.repository, g.digest) > (:registry, :repository, :digest)
ORDER BY g.registry, g.repository, g.digest LIMIT :limit;

-- name: note_use
-- Once an hour will do. A time that is still to come was written before the clock was set back.
INSERT INTO uses (registry, repository, digest, used) VALUES (:registry, :repository, :digest, :used)
ON CONFLICT DO UPDATE SET used = excluded.used WHERE used <= excluded.used - 3600 OR used > excluded.used;

-- name: newest_pushes
SELECT j.*, u.used, r.state AS replicate, x.state AS unpack FROM jobs j
LEFT JOIN uses u ON u.registry = j.registry AND u.repository = j.repository AND u.digest = j.digest
LEFT JOIN tasks r ON r.job = j.id AND r.kind = 'replicate'
LEFT JOIN tasks x ON x.job = j.id AND x.kind = 'unpack'
WHERE j.id > :after AND NOT EXISTS (
    SELECT 1 FROM jobs n WHERE n.id > j.id AND n.registry = j.registry AND n.repository = j.repository
    AND (n.tag = j.tag OR (n.tag IS NULL AND j.tag IS NULL AND n.digest = j.digest))
) ORDER BY j.id LIMIT :limit;

-- name: newest_of_repository
SELECT max(id) AS job FROM jobs WHERE registry = :registry AND repository = :repository;

-- name: forget_use
DELETE FROM uses WHERE registry = :registry AND repository = :repository AND digest = :digest;

-- name: forget_uses
DELETE FROM uses WHERE NOT EXISTS (
    SELECT 1 FROM holdings h
    WHERE h.registry = uses.registry AND h.repository = uses.repository AND h.digest = uses.digest
);
