CREATE TABLE autoprobe_off (
    pf  TEXT PRIMARY KEY,
    sum INTEGER
) STRICT;
