//! Guests: command line, launcher, QMP, supervision, adoption.
