-- The moments of a push, for people to look at. Times are Unix seconds.

-- When the first byte of a push came, and the last one of a blob; null where that was not seen, as before a restart.
ALTER TABLE jobs ADD COLUMN first_byte REAL;
ALTER TABLE jobs ADD COLUMN last_byte REAL;

-- When there was nothing more to do; null until then.
ALTER TABLE tasks ADD COLUMN ended REAL;
