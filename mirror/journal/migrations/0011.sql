-- A task may give way: a variant goes upstream behind the originals.
DROP VIEW ready;
DROP VIEW running;
ALTER TABLE tasks ADD COLUMN gives_way INTEGER NOT NULL DEFAULT 0 CHECK (gives_way IN (0, 1));
DROP INDEX tasks_by_state;
DROP INDEX tasks_by_time;
CREATE INDEX tasks_by_state ON tasks (state, kind, gives_way, job, not_before);
CREATE INDEX tasks_by_time ON tasks (kind, gives_way, not_before) WHERE state = 'pending';

CREATE VIEW running AS SELECT t.job, t.kind, t.gives_way, j.registry, j.repository, j.tag
FROM tasks t CROSS JOIN jobs j ON j.id = t.job WHERE t.state = 'running';

-- Waiting tasks that nothing stands in the way of but their time.
-- CROSS JOIN: SQLite keeps its order, and the few tasks on the left are found by their index.
CREATE VIEW ready AS SELECT t.job, t.kind, t.gives_way, t.not_before, j.registry, j.repository
FROM tasks t CROSS JOIN jobs j ON j.id = t.job
WHERE t.state = 'pending'
-- Two tasks of one tag are never run side by side: the later push must also be the later one upstream.
AND NOT EXISTS (
    SELECT 1 FROM running r WHERE r.kind = t.kind
    AND r.registry = j.registry AND r.repository = j.repository AND r.tag = j.tag
)
-- A delete waits for the pushes before it, and a push for the deletes before it.
AND NOT EXISTS (
    SELECT 1 FROM tasks e CROSS JOIN jobs k ON k.id = e.job
    WHERE e.kind = CASE t.kind WHEN 'replicate' THEN 'delete' WHEN 'delete' THEN 'replicate' END
    AND e.state IN ('pending', 'running') AND e.job < j.id
    AND k.registry = j.registry AND k.repository = j.repository AND (k.tag = j.tag OR k.digest = j.digest)
)
-- A referrer waits for its subject, even for one that is parked, unless a push of it has arrived. Only for pushes before
-- it: else two could wait in a ring.
AND NOT EXISTS (
    SELECT 1 FROM jobs k CROSS JOIN tasks s ON s.job = k.id
    WHERE k.registry = j.registry AND k.repository = j.repository AND k.digest = j.subject AND k.id < j.id
    AND t.kind = 'replicate' AND s.kind = 'replicate'
    GROUP BY k.digest
    HAVING sum(s.state IN ('pending', 'running', 'parked')) > 0 AND sum(s.state = 'done') = 0
)
-- A variant is made of what is upstream, and unpacked here: neither ever waits for it.
AND NOT EXISTS (
    SELECT 1 FROM tasks o WHERE t.kind = 'convert' AND o.job = t.job AND o.kind <> 'convert'
    AND (o.state IN ('pending', 'running') OR (o.kind = 'replicate' AND o.state = 'parked'))
);
