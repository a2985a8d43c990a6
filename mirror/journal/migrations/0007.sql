-- What came here from an upstream, by a pull.

-- A manifest that nobody pushed here. Until an image refers to it, `lease` holds it as it holds a blob.
ALTER TABLE grants ADD COLUMN pulled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX grants_pulled ON grants (registry, repository, digest) WHERE pulled;

-- What a tag meant upstream when that was asked last.
CREATE TABLE upstream_tags (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    asked REAL NOT NULL,
    PRIMARY KEY (registry, repository, tag)
) STRICT, WITHOUT ROWID;
