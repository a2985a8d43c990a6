-- The trace that a push was part of: what is done for it later, by another process too, is in it. Both are as in the
-- headers of W3C Trace Context.
ALTER TABLE jobs ADD COLUMN traceparent TEXT;
ALTER TABLE jobs ADD COLUMN tracestate TEXT;
