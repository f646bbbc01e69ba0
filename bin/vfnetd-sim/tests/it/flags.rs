//! Flags that a call does not know.

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::{ListArgs, Network, NetworkPort};
use vfnet_rpc::remote::{
    ConnectListAllNetworks, ConnectListAllNodeDevices, DhcpLeasesArgs, NetworkCreateXmlFlags,
    NetworkDefineXml, NetworkDefineXmlFlags, NetworkFlags, NetworkGetDhcpLeases, NetworkGetXmlDesc,
    NetworkListAllPorts, NetworkPortDelete, NetworkPortGetXmlDesc, NodeDeviceDetachArgs,
    NodeDeviceDetachFlags, NodeDeviceFlags, NodeDeviceGetXmlDesc, PortFlags, PortListArgs,
    XmlFlags,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW};

const UNKNOWN: u32 = 1 << 27;

#[test]
fn a_call_with_a_flag_that_it_does_not_know_is_refused_and_does_nothing() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:1"]);
    let mut client = Client::of(&daemon);
    let hw: Network = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    let port = NetworkPort { network: hw.clone(), uuid: hw.uuid };
    let xml = XmlFlags { xml: Text::clipped(&HW.replace("hw", "other")), flags: UNKNOWN };
    let list = ListArgs { need_results: 1, flags: UNKNOWN };
    let refused = [
        client.number::<NetworkDefineXmlFlags>(&xml),
        client.number::<NetworkCreateXmlFlags>(&xml),
        client.number::<ConnectListAllNetworks>(&list),
        client.number::<ConnectListAllNodeDevices>(&list),
        client.number::<NetworkGetXmlDesc>(&NetworkFlags { network: hw.clone(), flags: UNKNOWN }),
        client.number::<NetworkGetDhcpLeases>(&DhcpLeasesArgs {
            network: hw.clone(),
            mac: None,
            need_results: 1,
            flags: UNKNOWN,
        }),
        client.number::<NetworkListAllPorts>(&PortListArgs {
            network: hw,
            need_results: 1,
            flags: UNKNOWN,
        }),
        client.number::<NetworkPortGetXmlDesc>(&PortFlags { port: port.clone(), flags: UNKNOWN }),
        client.number::<NetworkPortDelete>(&PortFlags { port, flags: UNKNOWN }),
        client.number::<NodeDeviceGetXmlDesc>(&NodeDeviceFlags {
            name: Text::clipped("computer"),
            flags: UNKNOWN,
        }),
        client.number::<NodeDeviceDetachFlags>(&NodeDeviceDetachArgs {
            name: Text::clipped("pci_0000_01_10_0"),
            driver: None,
            flags: UNKNOWN,
        }),
    ];
    for (place, number) in refused.into_iter().enumerate() {
        assert_eq!(number, Ok(ErrorCode::InvalidArg.number()), "call {place}");
    }
    assert_eq!(daemon.lent(), 0);
}
