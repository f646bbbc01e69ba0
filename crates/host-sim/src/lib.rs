//! A simulated kernel behind the host trait, with faults.
