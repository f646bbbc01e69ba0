CREATE TABLE bridge_port (
    port    TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    owner   TEXT NOT NULL,
    json    TEXT NOT NULL
) STRICT;

CREATE TABLE edit (
    uuid     TEXT PRIMARY KEY,
    format   INTEGER NOT NULL,
    xml      TEXT NOT NULL,
    pfs      TEXT NOT NULL,
    vfs      TEXT NOT NULL,
    kept_xml TEXT NOT NULL
) STRICT;
