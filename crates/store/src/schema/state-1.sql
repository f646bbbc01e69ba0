CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE network (
    uuid      TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    autostart INTEGER NOT NULL,
    format    INTEGER NOT NULL,
    xml       TEXT NOT NULL
) STRICT;

CREATE TABLE guest (
    uuid      TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    autostart INTEGER NOT NULL,
    format    INTEGER NOT NULL,
    xml       TEXT NOT NULL
) STRICT;

CREATE TABLE decision (
    pf       TEXT NOT NULL,
    vf_index INTEGER NOT NULL,
    decision TEXT NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (pf, vf_index)
) STRICT;

CREATE TABLE set_aside (
    id      INTEGER PRIMARY KEY,
    origin  TEXT NOT NULL,
    key     TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;
