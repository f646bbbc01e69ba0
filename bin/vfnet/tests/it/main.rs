//! The command line against a daemon that is made up.
