//! VFs that the administrator detaches from the host, reattaches and resets.

use vfnet_engine::{Answer, Refusal, Request};
use vfnet_model::PciAddress;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};

use crate::{Daemon, wire_error};

fn error(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::NodeDevice, code, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::NodeDevice, &refusal)
}

/// The address in a name such as `pci_0000_01_10_0`.
fn address(name: &str) -> Result<PciAddress, WireError> {
    let Some(rest) = name.strip_prefix("pci_") else {
        return Err(error(ErrorCode::InvalidArg, &format!("device '{name}' is not a PCI device")));
    };
    let parsed = match rest.split('_').collect::<Vec<_>>().as_slice() {
        [domain, bus, slot, function] => format!("{domain}:{bus}:{slot}.{function}").parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| {
        let detail = format!("no node device with matching name '{name}'");
        error(ErrorCode::NoNodeDevice, &detail)
    })
}

async fn ask(daemon: &Daemon, request: Request) -> Result<(), WireError> {
    daemon.observer.look().await;
    match daemon.engine.ask(request).await.map_err(refused)? {
        Answer::Restored(Err(because)) => {
            let detail = format!("{} {}", because.vf, because.reason);
            Err(error(ErrorCode::OperationFailed, &detail))
        }
        _ => Ok(()),
    }
}

/// Binds a VF to VFIO. `driver` is empty, `vfio` or the name of a VFIO driver.
pub(super) async fn detach(
    daemon: &Daemon,
    name: &str,
    driver: Option<&str>,
) -> Result<(), WireError> {
    let driver =
        match driver {
            None | Some("" | "vfio") => None,
            Some(word @ ("kvm" | "xen")) => {
                let detail = format!("driver '{word}': this host lends through VFIO only");
                return Err(error(ErrorCode::ConfigUnsupported, &detail));
            }
            Some(name) => Some(name.parse().map_err(|fault| {
                error(ErrorCode::InvalidArg, &format!("driver '{name}': {fault}"))
            })?),
        };
    ask(daemon, Request::DeviceDetach { device: address(name)?, driver }).await
}

/// Gives a VF to the host's driver.
pub(super) async fn reattach(daemon: &Daemon, name: &str) -> Result<(), WireError> {
    ask(daemon, Request::DeviceReattach(address(name)?)).await
}

/// Resets a VF.
pub(super) async fn reset(daemon: &Daemon, name: &str) -> Result<(), WireError> {
    ask(daemon, Request::DeviceReset(address(name)?)).await
}
