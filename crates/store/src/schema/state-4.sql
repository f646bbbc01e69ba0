CREATE TABLE kept_vfs (
    pf    TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    sum   INTEGER
) STRICT;
