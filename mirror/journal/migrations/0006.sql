-- How much each tenant has here.

-- Whose push or mount brought a blob, and its bytes; empty and 0 for manifests, and for what came before.
ALTER TABLE grants ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN size INTEGER NOT NULL DEFAULT 0;

-- The blobs of a tenant, each once, by how many grants it has them; and their bytes altogether.
CREATE TABLE belongings (
    tenant TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    grants INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE tenants (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

-- Whatever gives content to a repository or takes it away, the sums are right. There is no INSERT OR IGNORE here: how the
-- statement that fires a trigger deals with conflicts counts within it, too (SQLite's manual, "CREATE TRIGGER").
CREATE TRIGGER granted AFTER INSERT ON grants WHEN new.tenant <> '' AND NOT new.revoked BEGIN
    INSERT INTO belongings (tenant, digest, size) SELECT new.tenant, new.digest, new.size
    WHERE NOT EXISTS (SELECT 1 FROM belongings WHERE tenant = new.tenant AND digest = new.digest);
    UPDATE belongings SET grants = grants + 1 WHERE tenant = new.tenant AND digest = new.digest;
END;
CREATE TRIGGER taken AFTER DELETE ON grants WHEN old.tenant <> '' AND NOT old.revoked BEGIN
    UPDATE belongings SET grants = grants - 1 WHERE tenant = old.tenant AND digest = old.digest;
END;
CREATE TRIGGER regranted AFTER UPDATE OF tenant, revoked ON grants
WHEN (old.tenant, old.revoked) <> (new.tenant, new.revoked) BEGIN
    INSERT INTO belongings (tenant, digest, size) SELECT new.tenant, new.digest, new.size
    WHERE new.tenant <> '' AND NOT new.revoked
    AND NOT EXISTS (SELECT 1 FROM belongings WHERE tenant = new.tenant AND digest = new.digest);
    UPDATE belongings SET grants = grants + 1
    WHERE tenant = new.tenant AND digest = new.digest AND NOT new.revoked;
    UPDATE belongings SET grants = grants - 1
    WHERE tenant = old.tenant AND digest = old.digest AND NOT old.revoked;
END;
CREATE TRIGGER belongs AFTER INSERT ON belongings BEGIN
    INSERT INTO tenants (tenant) SELECT new.tenant
    WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE tenant = new.tenant);
    UPDATE tenants SET bytes = bytes + new.size WHERE tenant = new.tenant;
END;
CREATE TRIGGER belongs_no_more AFTER UPDATE OF grants ON belongings WHEN new.grants = 0 BEGIN
    UPDATE tenants SET bytes = bytes - new.size WHERE tenant = new.tenant;
    DELETE FROM belongings WHERE tenant = new.tenant AND digest = new.digest;
END;
