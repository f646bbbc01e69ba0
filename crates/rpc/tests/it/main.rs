//! The wire as a real client, our own client and a hostile one see it.

mod client;
mod entries;
mod fuzz;
mod golden;
mod host;
mod hostile;
mod virsh;
