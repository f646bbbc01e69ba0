//! Guests: command line, launcher, QMP, supervision, adoption.

pub mod command_line;
