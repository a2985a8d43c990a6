-- Who has begun an upload session, as far as limits go: a principal or a place; empty for those from before.
ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
