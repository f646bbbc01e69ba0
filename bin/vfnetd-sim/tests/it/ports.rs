//! Another daemon's guests take their VFs as ports.

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::remote::{
    NetworkCreate, NetworkDefineXml, NetworkDestroy, NetworkPortCreateXml, NetworkPortDelete,
    NetworkPortGetXmlDesc, PortCreateArgs, PortFlags,
};
use vfnet_rpc::vfnet::NetworkDestroyForced;
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW};
use crate::until;

fn port(uuid: u8, mac: &str) -> String {
    format!(
        "<networkport><uuid>22222222-2222-4222-8222-2222222222{uuid:02x}</uuid>\
         <owner><name>far</name><uuid>33333333-3333-4333-8333-333333333333</uuid></owner>\
         <mac address='{mac}'/></networkport>"
    )
}

#[test]
fn a_port_is_made_shown_kept_over_a_kill_and_deleted() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    let document = daemon.file("port.xml", &port(1, "52:54:00:00:00:01"));
    daemon.says(&["net-port-create", "hw", &document]);
    let uuid = "22222222-2222-4222-8222-222222222201";
    let printed = daemon.virsh(&["net-port-dumpxml", "hw", uuid]).stdout;
    assert_eq!(
        printed,
        "<networkport>
  <uuid>22222222-2222-4222-8222-222222222201</uuid>
  <owner>
    <name>far</name>
    <uuid>33333333-3333-4333-8333-333333333333</uuid>
  </owner>
  <mac address='52:54:00:00:00:01'/>
  <plug type='hostdev-pci' managed='yes'>
    <driver name='vfio'/>
    <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
  </plug>
</networkport>
"
    );
    daemon.kill_and_go_on();
    assert_eq!(daemon.virsh(&["net-port-dumpxml", "hw", uuid]).stdout, printed);
    let again = daemon.refuses(&["net-port-create", "hw", &document]);
    assert!(again.contains("exists already"), "{again}");
    let refusal = daemon.refuses(&["net-destroy", "hw"]);
    assert!(refusal.contains("far"), "{refusal}");
    daemon.says(&["net-port-delete", "hw", uuid]);
    until("the VF is back", || Client::of(&daemon).vfs().iter().all(|vf| vf.state == "free"));
    daemon.says(&["net-destroy", "hw"]);
}

#[test]
fn ports_live_on_when_their_network_is_stopped_by_force() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    let create = |number, mac: &str| PortCreateArgs {
        network: hw.clone(),
        xml: Text::clipped(&port(number, mac)),
        flags: 0,
    };
    let inactive = client.number::<NetworkPortCreateXml>(&create(1, "52:54:00:00:00:01"));
    assert_eq!(inactive, Ok(ErrorCode::OperationInvalid.number()));
    client.ask::<NetworkCreate>(&hw).expect("started");
    let made = client.ask::<NetworkPortCreateXml>(&create(1, "52:54:00:00:00:01"));
    let made = made.expect("made");
    let exists = client.number::<NetworkPortCreateXml>(&create(1, "52:54:00:00:00:02"));
    assert_eq!(exists, Ok(ErrorCode::NetworkPortExist.number()));
    for number in 2..=7 {
        let mac = format!("52:54:00:00:00:{number:02x}");
        client.ask::<NetworkPortCreateXml>(&create(number, &mac)).expect("made");
    }
    let exhausted = client.number::<NetworkPortCreateXml>(&create(8, "52:54:00:00:00:08"));
    assert_eq!(exhausted, Ok(ErrorCode::InternalError.number()));

    client.ask::<NetworkDestroyForced>(&Text::clipped("hw")).expect("stopped");
    let port = PortFlags { port: made, flags: 0 };
    client.ask::<NetworkPortGetXmlDesc>(&port).expect("still there");
    client.ask::<NetworkPortDelete>(&port).expect("deleted");
    let gone = client.number::<NetworkPortGetXmlDesc>(&port);
    assert_eq!(gone, Ok(ErrorCode::NoNetworkPort.number()));
}

#[test]
fn the_network_daemons_socket_serves_the_same() {
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    let mut command = daemon.command();
    let socket = daemon.path("virtnetworkd-sock");
    command.arg("--network-socket").arg(&socket);
    daemon.begin(command, |_| socket.clone());
    Client::open(&socket).ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    until("the main socket is there", || daemon.socket().exists());
    Client::of(&daemon).vfs();
}

#[test]
fn a_port_that_is_taken_up_is_as_its_guest_has_it() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:2"]);
    let mut client = Client::of(&daemon);
    let document = HW.replace(" vfs='7' autoprobe='yes'", "");
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(&document)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    let plugged = "<group>gone</group><mac address='52:54:00:00:00:01'/>\
         <bandwidth><inbound average='1000'/></bandwidth><rxfilters trustGuest='yes'/>\
         <plug type='hostdev-pci' managed='no'><driver name='vfio' model='mlx5_vfio_pci'/>\
         <address domain='0x0000' bus='0x01' slot='0x10' function='0x2'/></plug>";
    let xml = port(1, "52:54:00:00:00:01").replace("<mac address='52:54:00:00:00:01'/>", plugged);
    let args = PortCreateArgs {
        network: hw,
        xml: Text::clipped(&xml),
        flags: vfnet_rpc::flags::PORT_CREATE_RECLAIM,
    };
    let made = client.ask::<NetworkPortCreateXml>(&args).expect("taken up");
    let printed = client.ask::<NetworkPortGetXmlDesc>(&PortFlags { port: made, flags: 0 });
    let printed = printed.expect("a document");
    for part in [
        "<group>gone</group>",
        "<rxfilters trustGuest='yes'/>",
        "<plug type='hostdev-pci' managed='no'>",
        "<driver name='vfio' model='mlx5_vfio_pci'/>",
        "function='0x2'",
    ] {
        assert!(printed.contains(part), "no {part} in {}", &*printed);
    }
}

#[test]
fn a_bridge_network_with_a_port_in_use_is_stopped_by_force_alone() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let document = "<network><name>br</name><forward mode='bridge'/><bridge name='br0'/></network>";
    let br = client.ask::<NetworkDefineXml>(&Text::clipped(document)).expect("defined");
    client.ask::<NetworkCreate>(&br).expect("started");
    let xml = Text::clipped(&port(1, "52:54:00:00:00:01"));
    let args = PortCreateArgs { network: br.clone(), xml, flags: 0 };
    let made = client.ask::<NetworkPortCreateXml>(&args).expect("made");
    let in_use = Ok(ErrorCode::OperationInvalid.number());
    assert_eq!(client.number::<NetworkDestroy>(&br), in_use);
    client.ask::<NetworkDestroyForced>(&Text::clipped("br")).expect("stopped");
    client.ask::<NetworkPortDelete>(&PortFlags { port: made, flags: 0 }).expect("still there");
}
