-- As quick with many images as with few.

-- Their state comes first: what is not over is found among the many that are. With their time, it can be seen in the
-- index alone whether they are due.
DROP INDEX tasks_by_state;
CREATE INDEX tasks_by_state ON tasks (state, kind, job, not_before);

-- The few grants that a lease still holds.
CREATE INDEX grants_by_lease ON grants (lease) WHERE lease IS NOT NULL;
