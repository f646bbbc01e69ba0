DROP TABLE decision;

CREATE TABLE drain (
    pf  TEXT PRIMARY KEY,
    why TEXT NOT NULL,
    sum INTEGER
) STRICT;
