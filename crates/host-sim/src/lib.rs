//! A simulated kernel behind [`vfnet_host::Host`], for tests.
//!
//! Deterministic: time is virtual, chance comes from a seed. What the machine is lives in
//! [`Kernel`], plain data that can be cloned and compared; [`SimHost`] is a handle on one, kept in
//! memory or in a file that outlives the daemon under test. Card differences are rows of
//! [`Personality`]. Beyond the trait, a test can have operations fail ([`SimHost::fail`]), have
//! the program under test die between two kernel writes ([`SimHost::crash_before`]), and be the
//! rest of the world: processes with VFIO groups open, administrators, power cuts.
//!
//! Read first: [`SimHost::builder`], [`SimHost::facts`].

mod builder;
mod driver;
mod facts;
mod fault;
mod file;
mod host;
mod kernel;
mod process;
mod trace;

pub use builder::{HostBuilder, PfBuilder};
pub use driver::{AdminMac, Driver, OwnMac, Personality, PfUp, Rates, UnknownDriver, ZeroMac};
pub use facts::VfFacts;
pub use fault::{FaultKind, FaultPoint, OpKind};
pub use file::StateFileError;
pub use host::{SimCrash, SimHost, Verdict};
pub use kernel::{Kernel, NetdevState, OtherDevice, VfioOpenError};
pub use trace::{Operation, Write};
