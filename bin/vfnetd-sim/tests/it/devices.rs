//! VFs that the administrator takes by hand.

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::remote::{
    NodeDeviceDetachArgs, NodeDeviceDetachFlags, NodeDeviceDettach, NodeDeviceReAttach,
    NodeDeviceReset,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, guest};

const VF: &str = "pci_0000_01_10_0";

fn name(name: &str) -> Text {
    Text::clipped(name)
}

#[test]
fn a_vf_is_detached_reset_and_reattached() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let mut client = Client::of(&daemon);
    client.ask::<NodeDeviceDettach>(&name(VF)).expect("detached");
    assert_eq!(daemon.lent(), 1);
    client.ask::<NodeDeviceReset>(&name(VF)).expect("reset");
    client.ask::<NodeDeviceReAttach>(&name(VF)).expect("reattached");
    assert_eq!(daemon.lent(), 0);
    let on_its_driver = client.number::<NodeDeviceReset>(&name(VF));
    assert_eq!(on_its_driver, Ok(ErrorCode::OperationInvalid.number()));
}

#[test]
fn a_vf_that_a_guest_has_is_not_detached() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let mut client = Client::of(&daemon);
    let in_use = Ok(ErrorCode::OperationInvalid.number());
    assert_eq!(client.number::<NodeDeviceDettach>(&name(VF)), in_use);
    assert_eq!(client.number::<NodeDeviceReAttach>(&name(VF)), in_use);
    assert_eq!(client.number::<NodeDeviceReset>(&name(VF)), in_use);
}

#[test]
fn what_cannot_be_detached_is_refused_with_the_reason() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    for (device, code) in [
        ("pci_0000_01_00_0", ErrorCode::ConfigUnsupported),
        ("pci_0000_7f_00_0", ErrorCode::ConfigUnsupported),
        ("pci_nonsense", ErrorCode::NoNodeDevice),
        ("net_ens1f0", ErrorCode::InvalidArg),
    ] {
        let refused = client.number::<NodeDeviceDettach>(&name(device));
        assert_eq!(refused, Ok(code.number()), "{device}");
    }
    let by = |driver: &str| NodeDeviceDetachArgs {
        name: name(VF),
        driver: Some(name(driver)),
        flags: 0,
    };
    for (driver, code) in [("kvm", ErrorCode::ConfigUnsupported), ("../x", ErrorCode::InvalidArg)] {
        let refused = client.number::<NodeDeviceDetachFlags>(&by(driver));
        assert_eq!(refused, Ok(code.number()), "{driver}");
    }
}
