-- Images go again: those first that were not used for longest.

-- When a manifest was last used, beside its push: pulled, or seen in a container.
CREATE TABLE uses (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (registry, repository, digest)
) STRICT, WITHOUT ROWID;
