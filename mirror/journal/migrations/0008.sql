-- When a push got how far. What was pushed before has no such moments.

-- How it came: when the first upload of it was begun, and its last byte was here; what was sent, and what was here.
ALTER TABLE jobs ADD COLUMN first_byte REAL;
ALTER TABLE jobs ADD COLUMN last_byte REAL;
ALTER TABLE jobs ADD COLUMN sent_blobs INTEGER;
ALTER TABLE jobs ADD COLUMN sent_bytes INTEGER;
ALTER TABLE jobs ADD COLUMN present_blobs INTEGER;
ALTER TABLE jobs ADD COLUMN present_bytes INTEGER;

-- The first attempt, and when nothing was left to do.
ALTER TABLE jobs ADD COLUMN unpack_begun REAL;
ALTER TABLE jobs ADD COLUMN unpacked REAL;
ALTER TABLE jobs ADD COLUMN replication_begun REAL;
ALTER TABLE jobs ADD COLUMN replicated REAL;
