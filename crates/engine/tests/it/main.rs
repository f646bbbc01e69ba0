//! The engine's promises, kept on a simulated host: whatever is asked, fails, vanishes or dies.
//!
//! `VFNET_DEEP=1` tries many more orders of events and many more random lives.

mod autostart;
mod bugs;
mod chaos;
mod clean;
mod coverage;
mod crashes;
mod devices;
mod document;
mod drain;
mod drift;
mod edits;
mod events;
mod guards;
mod health;
mod keep;
mod leases;
mod lives;
mod making;
mod members;
mod nic_changes;
mod outside;
mod placement;
mod plans;
mod plugs;
mod pools;
mod ports;
mod promises;
mod scene;
mod set_anew;
mod sim;
mod unused;
mod works;
mod world;

/// Whether there is time to try much more.
fn deep() -> bool {
    std::env::var_os("VFNET_DEEP").is_some_and(|set| set == "1")
}
