CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE live_network (
    uuid   TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    format INTEGER NOT NULL,
    xml    TEXT NOT NULL,
    pfs    TEXT NOT NULL,
    vfs    TEXT NOT NULL
) STRICT;

CREATE TABLE run (
    guest TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    id    INTEGER NOT NULL,
    phase TEXT NOT NULL,
    pid   INTEGER,
    json  TEXT NOT NULL
) STRICT;

CREATE TABLE claim (
    id       INTEGER PRIMARY KEY,
    vf       TEXT NOT NULL,
    pf       TEXT NOT NULL,
    vf_index INTEGER NOT NULL,
    state    TEXT NOT NULL,
    owner    TEXT NOT NULL,
    guest    TEXT,
    network  TEXT,
    json     TEXT NOT NULL
) STRICT;

CREATE TABLE pending (
    uuid TEXT PRIMARY KEY,
    kind TEXT NOT NULL
) STRICT;

CREATE TABLE set_aside (
    id      INTEGER PRIMARY KEY,
    origin  TEXT NOT NULL,
    key     TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;
