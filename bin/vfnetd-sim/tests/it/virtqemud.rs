//! What stock virtqemud says to the network daemon, call by call, and does to VFs behind its
//! back: a connection for every operation, opened, spoken for somebody, and closed (libvirt:
//! `virGetConnectGeneric`). Between any two calls the host is looked at.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use vfnet_host::Host as _;
use vfnet_host_sim::{SimHost, VfFacts};
use vfnet_model::port::{Plug, parse as parse_port};
use vfnet_model::vf::VfSetting;
use vfnet_model::{DriverName, MacAddress, PciAddress, Vlan};
use vfnet_rpc::client::ReplyError;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::{PORT_CREATE_RECLAIM, PORT_CREATE_VALIDATE};
use vfnet_rpc::objects::{Network, NetworkPort};
use vfnet_rpc::remote::{
    AuthList, ConnectClose, ConnectOpen, ConnectOpenArgs, ConnectSetIdentity,
    ConnectSupportsFeature, Feature, NetworkCreate, NetworkDefineXml, NetworkDestroy, NetworkFlags,
    NetworkGetXmlDesc, NetworkLookupByName, NetworkPortCreateXml, NetworkPortDelete,
    NetworkPortGetParameters, NetworkPortGetXmlDesc, NetworkPortLookupByUuid,
    NetworkPortSetParameters, PortByUuid, PortCreateArgs, PortFlags, PortParametersArgs,
    PortSetParametersArgs, SetIdentityArgs,
};
use vfnet_rpc::typed_params::{ParamValue, TypedParam};
use vfnet_rpc::xdr::{List, Text};

use crate::client::Client;
use crate::daemon::Daemon;
use crate::installed;

const SECOND: Duration = Duration::from_secs(1);

/// A network that wishes what virtqemud cannot set.
const WISHING: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'><name>hw</name>\
<uuid>11111111-1111-4111-8111-111111111111</uuid>\
<forward mode='hostdev' managed='yes'><pf dev='ens1f0'/></forward>\
<vlan><tag id='42'/></vlan><portgroup name='gold'/>\
<vfnet:pool><vfnet:pf dev='ens1f0' vfs='3' autoprobe='yes'/><vfnet:vf trust='yes' spoofchk='no'/></vfnet:pool>\
</network>";

/// A host with the network active, served where a network daemon would be.
fn site() -> (Daemon, Virtqemud) {
    let daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    let socket = daemon.path("virtnetworkd-sock");
    let (mut daemon, virtqemud) = (daemon, Virtqemud { socket });
    virtqemud.serve(&mut daemon);
    let mut admin = Client::of(&daemon);
    let hw = admin.ask::<NetworkDefineXml>(&Text::clipped(WISHING)).expect("defined");
    admin.ask::<NetworkCreate>(&hw).expect("started");
    (daemon, virtqemud)
}

/// Another daemon, as far as the network daemon sees it.
struct Virtqemud {
    socket: PathBuf,
}

/// A guest's interface, as virtqemud remembers it.
#[derive(Clone)]
struct Nic {
    port: uuid::Uuid,
    mac: MacAddress,
    vf: PciAddress,
    document: String,
    own: MacAddress,
}

impl Virtqemud {
    /// (Re)starts vfnetd on the network daemon's socket.
    fn serve(&self, daemon: &mut Daemon) {
        let mut command = daemon.command();
        command.arg("--network-socket").arg(&self.socket);
        let main = daemon.socket();
        daemon.begin(command, |_| main.clone());
        let listens = || UnixStream::connect(&self.socket).is_ok();
        crate::until("the network daemon's socket is served", listens);
    }

    /// One operation on a connection of its own.
    fn once<T>(&self, operation: impl FnOnce(&mut Client) -> T) -> T {
        let mut client = Client::connect(&self.socket);
        client.ask::<AuthList>(&()).expect("no authentication");
        client.ask::<ConnectSupportsFeature>(&10).expect("answered");
        let name = Some(Text::clipped("network:///system"));
        client.ask::<ConnectOpen>(&ConnectOpenArgs { name, flags: 0 }).expect("opened");
        for feature in [Feature::RemoteEventCallback, Feature::RemoteCloseCallback] {
            client.ask::<ConnectSupportsFeature>(&feature.number()).expect("answered");
        }
        if rustix::process::geteuid().is_root() {
            client.ask::<ConnectSetIdentity>(&identity()).expect("root speaks for others");
        }
        let done = operation(&mut client);
        client.ask::<ConnectClose>(&()).expect("closed");
        done
    }

    /// 46, 43: how the type of an interface is found out before a start.
    fn mode(&self, daemon: &Daemon) -> String {
        let network = self.hw();
        look(daemon);
        let args = NetworkFlags { network, flags: 0 };
        let xml = self.once(|client| client.ask::<NetworkGetXmlDesc>(&args)).expect("a document");
        let (_, rest) = xml.split_once("<forward mode='").expect("a forward mode");
        rest.split('\'').next().unwrap_or_default().to_owned()
    }

    fn hw(&self) -> Network {
        self.once(|client| client.ask::<NetworkLookupByName>(&Text::clipped("hw"))).expect("hw")
    }

    /// 46, 406, 409.
    fn allocate(&self, daemon: &Daemon, port: u8, last: u8) -> Result<Nic, i32> {
        let network = self.hw();
        look(daemon);
        let xml = Text::clipped(&port_xml(port, last, ""));
        let args = PortCreateArgs { network, xml, flags: PORT_CREATE_VALIDATE };
        let created = self.once(|client| client.ask::<NetworkPortCreateXml>(&args));
        look(daemon);
        let port = match created {
            Ok(port) => port,
            Err(ReplyError::Server(error)) => return Err(error.code),
            Err(other) => panic!("{other}"),
        };
        let args = PortFlags { port: port.clone(), flags: 0 };
        let document = self.once(|client| client.ask::<NetworkPortGetXmlDesc>(&args)).expect("it");
        look(daemon);
        let Plug::HostdevPci { address: vf, managed: true, driver: Some(_) } =
            parse_port(&document).expect("a port").plug
        else {
            panic!("{document}");
        };
        let own = daemon.host().facts()[&vf].netdev_mac.expect("the host has a netdev");
        let document = document.to_string();
        Ok(Nic { port: port.uuid, mac: mac(last), vf, document, own })
    }

    /// 46, 405; `None` where the port is not known.
    fn lookup(&self, daemon: &Daemon, port: uuid::Uuid) -> Option<NetworkPort> {
        let args = PortByUuid { network: self.hw(), uuid: port };
        look(daemon);
        let found = self.once(|client| client.ask::<NetworkPortLookupByUuid>(&args));
        look(daemon);
        match found {
            Ok(port) => Some(port),
            Err(ReplyError::Server(error)) => {
                assert_eq!(error.code, ErrorCode::NoNetworkPort.number());
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// 46, 405, 410.
    fn release(&self, daemon: &Daemon, nic: &Nic) {
        let port = self.lookup(daemon, nic.port).expect("it is known");
        let args = PortFlags { port, flags: 0 };
        self.once(|client| client.ask::<NetworkPortDelete>(&args)).expect("deleted");
        look(daemon);
    }

    /// What it does for every running guest when it starts: 46, 405, and 406 with RECLAIM, 409
    /// where the port is not known.
    fn reconnect(&self, daemon: &Daemon, nic: &Nic) -> Result<(), i32> {
        if self.lookup(daemon, nic.port).is_none() {
            let network = self.hw();
            look(daemon);
            let xml = Text::clipped(&nic.document);
            let args = PortCreateArgs { network, xml, flags: PORT_CREATE_RECLAIM };
            let port = match self.once(|client| client.ask::<NetworkPortCreateXml>(&args)) {
                Ok(port) => port,
                Err(ReplyError::Server(error)) => return Err(error.code),
                Err(other) => panic!("{other}"),
            };
            look(daemon);
            let args = PortFlags { port, flags: 0 };
            self.once(|client| client.ask::<NetworkPortGetXmlDesc>(&args)).expect("a document");
        }
        look(daemon);
        Ok(())
    }

    /// What it does to the VF of a starting guest, in its order, with looks in between.
    fn take(&self, daemon: &Daemon, nic: &Nic) {
        let host = daemon.host();
        let vfio: DriverName = "vfio-pci".parse().expect("a driver");
        host.load_driver(&vfio, SECOND).expect("loaded");
        host.set_driver_override(nic.vf, Some(&vfio)).expect("set");
        host.unbind(nic.vf, SECOND).expect("unbound");
        look(daemon);
        host.probe(nic.vf, SECOND).expect("bound");
        look(daemon);
        for setting in [VfSetting::Mac(nic.mac), VfSetting::Vlan(tag())] {
            set(&host, nic.vf, setting);
            look(daemon);
        }
        host.open_vfio(nic.vf, "qemu").expect("the guest has it");
        look(daemon);
    }

    /// What it does to the VF of a guest that has ended. The VF's own MAC becomes the admin MAC.
    fn put_back(&self, daemon: &Daemon, nic: &Nic) {
        let host = daemon.host();
        host.close_vfio(nic.vf);
        for setting in [VfSetting::Mac(nic.own), VfSetting::Vlan(Vlan::UNTAGGED)] {
            set(&host, nic.vf, setting);
            look(daemon);
        }
        host.set_driver_override(nic.vf, None).expect("cleared");
        host.unbind(nic.vf, SECOND).expect("unbound");
        look(daemon);
        host.probe(nic.vf, SECOND).expect("bound");
        look(daemon);
    }
}

fn set(host: &SimHost, vf: PciAddress, setting: VfSetting) {
    let seen = host.vf(vf).expect("read").expect("there");
    host.set_vf(seen.pf, seen.index, setting).expect("the card takes it");
}

fn tag() -> Vlan {
    Vlan::tagged(42.try_into().expect("a tag"))
}

fn mac(last: u8) -> MacAddress {
    MacAddress::new([0x52, 0x54, 0, 0, 0, last])
}

fn port_xml(port: u8, last: u8, plug: &str) -> String {
    format!(
        "<networkport><uuid>22222222-2222-4222-8222-2222222222{port:02x}</uuid>\
         <owner><name>far</name><uuid>33333333-3333-4333-8333-333333333333</uuid></owner>\
         <mac address='{}'/>{plug}</networkport>",
        mac(last)
    )
}

fn identity() -> SetIdentityArgs {
    let text = |field: &str, value: &str| TypedParam {
        field: Text::clipped(field),
        value: ParamValue::String(Text::clipped(value)),
    };
    let user = TypedParam { field: Text::clipped("unix-user-id"), value: ParamValue::ULong(0) };
    let params = vec![text("user-name", "root"), user, text("selinux-context", "unconfined")];
    SetIdentityArgs { params: List::new(params).expect("few"), flags: 0 }
}

/// Has vfnetd look at the host, as an announcement of the kernel's would.
fn look(daemon: &Daemon) {
    Client::of(daemon).vfs();
}

fn before(daemon: &Daemon) -> VfFacts {
    daemon.host().facts().into_values().next().expect("a VF")
}

/// What the host has of a VF, for as long as it is another daemon's.
fn as_is(daemon: &Daemon, nic: &Nic) -> VfFacts {
    daemon.host().facts()[&nic.vf].clone()
}

/// Nothing of a VF changes over this: whatever vfnetd sees, it leaves it.
fn untouched<T>(daemon: &mut Daemon, nic: &Nic, act: impl FnOnce(&mut Daemon) -> T) -> T {
    let found = as_is(daemon, nic);
    let done = act(daemon);
    assert_eq!(as_is(daemon, nic), found, "it is another daemon's");
    done
}

#[test]
fn a_guest_starts_and_stops_and_its_vf_is_exactly_as_before() {
    let (mut daemon, virtqemud) = site();
    let was = before(&daemon);
    assert_eq!(virtqemud.mode(&daemon), "hostdev");
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    let lent = as_is(&daemon, &nic);
    assert_eq!((lent.trust, lent.spoofchk), (true, false), "what virtqemud cannot set");
    assert_eq!((lent.admin_mac, &lent.driver), (was.admin_mac, &was.driver), "and no more");
    assert!(nic.document.contains("<tag id='42'/>"), "{}", nic.document);

    virtqemud.take(&daemon, &nic);
    untouched(&mut daemon, &nic, |daemon| look(daemon));
    let taken = as_is(&daemon, &nic);
    assert_eq!((taken.admin_mac, taken.vlan, taken.trust), (nic.mac, tag(), true));
    virtqemud.put_back(&daemon, &nic);
    assert!(as_is(&daemon, &nic).sticky, "libvirt's own way to give back");
    virtqemud.release(&daemon, &nic);
    assert_eq!(as_is(&daemon, &nic), was);
    assert!(virtqemud.lookup(&daemon, nic.port).is_none());
}

#[test]
fn a_guest_that_crashed_with_its_daemon_leaves_a_vf_that_is_put_back_all_the_same() {
    let (daemon, virtqemud) = site();
    let was = before(&daemon);
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    virtqemud.take(&daemon, &nic);
    daemon.host().close_vfio(nic.vf);
    virtqemud.release(&daemon, &nic);
    assert_eq!(as_is(&daemon, &nic), was);
}

#[test]
fn a_start_that_fails_after_the_port_was_made_gives_it_back() {
    let (daemon, virtqemud) = site();
    let was = before(&daemon);
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    virtqemud.release(&daemon, &nic);
    assert_eq!(as_is(&daemon, &nic), was);
    assert!(Client::of(&daemon).vfs().iter().all(|vf| vf.state == "free"));
}

#[test]
fn a_duplicate_uuid_takes_no_second_vf_and_exhaustion_is_internal_error() {
    let (daemon, virtqemud) = site();
    for number in 1..=2 {
        virtqemud.allocate(&daemon, number, number).expect("a port");
    }
    let exists = virtqemud.allocate(&daemon, 1, 9).map(|nic| nic.vf);
    assert_eq!(exists, Err(ErrorCode::NetworkPortExist.number()));
    virtqemud.allocate(&daemon, 3, 3).expect("the third VF is still free");
    let exhausted = virtqemud.allocate(&daemon, 4, 4).map(|nic| nic.vf);
    assert_eq!(exhausted, Err(ErrorCode::InternalError.number()));
}

#[test]
fn vfnetd_restarted_amid_a_guests_life_leaves_the_vf_and_knows_the_port() {
    let (mut daemon, virtqemud) = site();
    let was = before(&daemon);
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    let restart = |daemon: &mut Daemon| {
        daemon.kill();
        virtqemud.serve(daemon);
        look(daemon);
    };
    untouched(&mut daemon, &nic, restart);
    virtqemud.take(&daemon, &nic);
    untouched(&mut daemon, &nic, restart);
    virtqemud.reconnect(&daemon, &nic).expect("it is known");
    virtqemud.put_back(&daemon, &nic);
    restart(&mut daemon);
    virtqemud.release(&daemon, &nic);
    assert_eq!(as_is(&daemon, &nic), was);
}

#[test]
fn virtqemud_restarted_takes_up_ports_that_vfnetd_does_not_know() {
    let (mut daemon, virtqemud) = site();
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    virtqemud.take(&daemon, &nic);
    // All that vfnetd knew of this boot is lost.
    daemon.kill();
    for file in ["run/live.db", "run/live.db-wal", "run/live.db-shm"] {
        let _may_not_be_there = std::fs::remove_file(daemon.path(file));
    }
    virtqemud.serve(&mut daemon);
    let hw = virtqemud.hw();
    let inactive = virtqemud.reconnect(&daemon, &nic);
    assert_eq!(inactive, Err(ErrorCode::OperationInvalid.number()), "it is not started");
    Client::of(&daemon).ask::<NetworkCreate>(&hw).expect("started");
    untouched(&mut daemon, &nic, |daemon| {
        for _ in 0..2 {
            virtqemud.reconnect(daemon, &nic).expect("taken up");
        }
    });
    let other = Nic {
        port: uuid::Uuid::from_u128(7),
        document: nic.document.replace("222201", "222207"),
        ..nic.clone()
    };
    let refused = virtqemud.reconnect(&daemon, &other);
    assert_eq!(refused, Err(ErrorCode::InternalError.number()), "another one has the VF");
    let used = Client::of(&daemon).number::<NetworkDestroy>(&hw);
    assert_eq!(used, Ok(ErrorCode::OperationInvalid.number()), "it counts as lent");

    virtqemud.put_back(&daemon, &nic);
    virtqemud.release(&daemon, &nic);
    let back = as_is(&daemon, &nic);
    assert_eq!(back.driver.as_ref().map(DriverName::as_str), Some("igbvf"));
    assert!(!back.trust && back.spoofchk && !back.sticky && back.vlan == Vlan::UNTAGGED);
}

#[test]
fn a_reclaim_needs_a_vf_and_a_creation_must_not_have_one() {
    let (daemon, virtqemud) = site();
    let network = virtqemud.hw();
    let plug = "<plug type='hostdev-pci' managed='yes'>\
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/></plug>";
    let invalid = ErrorCode::InvalidArg.number();
    for (plug, flags) in [
        ("", PORT_CREATE_RECLAIM),
        (plug, 0),
        ("<plug type='bridge' bridge='br0'/>", PORT_CREATE_RECLAIM),
        ("", 4),
    ] {
        let xml = Text::clipped(&port_xml(1, 1, plug));
        let args = PortCreateArgs { network: network.clone(), xml, flags };
        let number = virtqemud.once(|client| client.number::<NetworkPortCreateXml>(&args));
        assert_eq!(number, Ok(invalid), "{plug} {flags}");
    }
    let elsewhere = plug.replace("0x10", "0x1f");
    let args = PortCreateArgs {
        network,
        xml: Text::clipped(&port_xml(1, 1, &elsewhere)),
        flags: PORT_CREATE_RECLAIM,
    };
    let number = virtqemud.once(|client| client.number::<NetworkPortCreateXml>(&args));
    assert_eq!(number, Ok(ErrorCode::InternalError.number()), "not of the pool");
    assert!(Client::of(&daemon).vfs().iter().all(|vf| vf.state == "free"));
}

#[test]
fn a_ports_parameters_are_none_and_bandwidth_is_refused() {
    let (mut daemon, virtqemud) = site();
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    let port = virtqemud.lookup(&daemon, nic.port).expect("known");
    for room in [0, 16] {
        let args = PortParametersArgs { port: port.clone(), room, flags: 0 };
        let found = virtqemud.once(|client| client.ask::<NetworkPortGetParameters>(&args));
        look(&daemon);
        let found = found.expect("none");
        assert_eq!((found.count, found.params.len()), (0, 0));
    }
    let set = |daemon: &Daemon, field: &str, value| {
        look(daemon);
        let params =
            vec![TypedParam { field: Text::clipped(field), value: ParamValue::UInt(value) }];
        let params = List::new(params).expect("one");
        let args = PortSetParametersArgs { port: port.clone(), params, flags: 0 };
        virtqemud.once(|client| client.number::<NetworkPortSetParameters>(&args))
    };
    let unsupported = Ok(ErrorCode::OperationUnsupported.number());
    untouched(&mut daemon, &nic, |daemon| {
        assert_eq!(set(daemon, "inbound.average", 1000), unsupported);
        assert_eq!(set(daemon, "outbound.peak", 1000), unsupported);
        assert_eq!(set(daemon, "colour", 1), Ok(ErrorCode::InvalidArg.number()));
        assert!(set(daemon, "inbound.average", 0).is_err(), "no limit is what it has");
    });
}

#[test]
fn a_guests_nic_on_a_bridge_is_a_port_too() {
    let (mut daemon, virtqemud) = site();
    let bridge = "<network><name>br</name><forward mode='bridge'/><bridge name='br0'/></network>";
    let mut admin = Client::of(&daemon);
    let br = admin.ask::<NetworkDefineXml>(&Text::clipped(bridge)).expect("defined");
    admin.ask::<NetworkCreate>(&br).expect("started");
    let args = |plug: &str, flags| PortCreateArgs {
        network: br.clone(),
        xml: Text::clipped(&port_xml(1, 1, plug)),
        flags,
    };
    let made = virtqemud.once(|client| client.ask::<NetworkPortCreateXml>(&args("", 0)));
    look(&daemon);
    let port = PortFlags { port: made.expect("made"), flags: 0 };
    daemon.kill();
    virtqemud.serve(&mut daemon);
    look(&daemon);
    let document = virtqemud.once(|client| client.ask::<NetworkPortGetXmlDesc>(&port));
    let plug = "<plug type='bridge' bridge='br0'/>";
    assert!(document.expect("there").contains(plug));
    look(&daemon);
    let again = args(plug, PORT_CREATE_RECLAIM);
    virtqemud.once(|client| client.ask::<NetworkPortCreateXml>(&again)).expect("known");
    look(&daemon);
    virtqemud.once(|client| client.ask::<NetworkPortDelete>(&port)).expect("deleted");
    look(&daemon);
    let gone = virtqemud.once(|client| client.number::<NetworkPortGetXmlDesc>(&port));
    assert_eq!(gone, Ok(ErrorCode::NoNetworkPort.number()));
}

/// Runs a script, which may have vfnetd look at the host by a line `look`; the last line that it
/// prints.
fn python(daemon: &Daemon, script: &str, arguments: &[&str], socket: &Path) -> Option<String> {
    const PYTHON: &str = "/usr/bin/python3";
    if !installed(PYTHON) || !crate::bindings::installed_for_python() {
        return None;
    }
    let uri = format!("network+unix:///system?socket={}", socket.display());
    let mut command = Command::new("timeout");
    command.args(["60", PYTHON, "-c", script, &uri]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().expect("python runs");
    let mut asks = running.stdin.take().expect("a pipe");
    let said = BufReader::new(running.stdout.take().expect("a pipe"));
    let mut last = None;
    for line in said.lines() {
        let line = line.expect("text");
        if line == "look" {
            look(daemon);
            writeln!(asks, "looked").expect("python waits for it");
        }
        last = Some(line);
    }
    assert!(running.wait().expect("ended").success(), "its fault is above");
    last
}

const PORTS: &str = r#"
import sys
import libvirt

uri, port, plugged = sys.argv[1:4]
libvirt.registerErrorHandler(lambda *_: None, None)

def look():
    print('look', flush=True)
    assert sys.stdin.readline() == 'looked\n'

def once(operation):
    conn = libvirt.open(uri)
    try:
        net = conn.networkLookupByName('hw')
        look()
        done = operation(net)
        look()
        return done
    finally:
        conn.close()

def known(operation):
    def found(net):
        port = net.portLookupByUUIDString(uuid)
        look()
        return operation(port)
    return once(found)

def refused(code, operation):
    try:
        once(operation)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, (error.get_error_code(), str(error))
        look()
        return
    raise AssertionError('granted')

uuid = '22222222-2222-4222-8222-222222222201'
reclaim = libvirt.VIR_NETWORK_PORT_CREATE_RECLAIM
assert once(lambda net: net.portCreateXML(port, 0).UUIDString()) == uuid
made = known(lambda port: port.XMLDesc())
assert "type='hostdev-pci'" in made, made
refused(libvirt.VIR_ERR_NETWORK_PORT_EXIST, lambda net: net.portCreateXML(port, 0))
assert once(lambda net: net.portCreateXML(made, reclaim).UUIDString()) == uuid
refused(libvirt.VIR_ERR_INVALID_ARG, lambda net: net.portCreateXML(port, reclaim))
refused(libvirt.VIR_ERR_INVALID_ARG, lambda net: net.portCreateXML(plugged, 0))
assert [p.UUIDString() for p in once(lambda net: net.listAllPorts())] == [uuid]
known(lambda port: port.delete())
refused(libvirt.VIR_ERR_NO_NETWORK_PORT, lambda net: net.portLookupByUUIDString(uuid))
print('served')
"#;

#[test]
fn the_python_binding_makes_takes_up_and_deletes_ports() {
    let (daemon, virtqemud) = site();
    let was = before(&daemon);
    let plug = "<plug type='hostdev-pci' managed='yes'>\
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/></plug>";
    let arguments = [port_xml(1, 1, ""), port_xml(2, 2, plug)];
    let arguments = [arguments[0].as_str(), arguments[1].as_str()];
    let Some(said) = python(&daemon, PORTS, &arguments, &virtqemud.socket) else {
        return;
    };
    assert_eq!(said, "served");
    assert_eq!(before(&daemon), was);
}

/// One live update, a restart and a new start of the daemon, with a port in use: each of these has
/// libvirt's daemon count anew from nothing, or forget the port.
#[test]
fn what_is_lent_is_counted_over_updates_and_restarts_and_a_stop_does_not_forget_it() {
    use vfnet_rpc::flags::{AFFECT_CONFIG, AFFECT_LIVE, network_update};
    use vfnet_rpc::remote::{NetworkUpdate, NetworkUpdateArgs};
    let (mut daemon, virtqemud) = site();
    let nic = virtqemud.allocate(&daemon, 1, 1).expect("a port");
    virtqemud.take(&daemon, &nic);
    let document = |daemon: &Daemon| {
        let args = NetworkFlags { network: virtqemud.hw(), flags: 0 };
        Client::of(daemon).ask::<NetworkGetXmlDesc>(&args).expect("a document").to_string()
    };
    let counted = |daemon: &Daemon| {
        let xml = document(daemon);
        assert!(xml.contains("connections='1'") && xml.contains("<pf dev='ens1f0'/>"), "{xml}");
    };
    counted(&daemon);
    let update = |command, section, xml: &str| NetworkUpdateArgs {
        network: virtqemud.hw(),
        command,
        section,
        parent_index: -1,
        xml: Text::clipped(xml),
        flags: AFFECT_LIVE | AFFECT_CONFIG,
    };
    let silver = update(
        network_update::ADD_LAST,
        network_update::SECTION_PORTGROUP,
        "<portgroup name='silver'/>",
    );
    Client::of(&daemon).ask::<NetworkUpdate>(&silver).expect("updated");
    counted(&daemon);
    assert!(document(&daemon).contains("silver"));
    // What would poison the document is refused: a second kind of member, a bandwidth.
    let poison = [
        (
            network_update::SECTION_FORWARD_INTERFACE,
            "<interface dev='ens1f0v1'/>",
            ErrorCode::OperationInvalid,
        ),
        (
            network_update::SECTION_PORTGROUP,
            "<portgroup name='x'><bandwidth><inbound average='1'/></bandwidth></portgroup>",
            ErrorCode::ConfigUnsupported,
        ),
    ];
    for (section, xml, refusal) in poison {
        let args = update(network_update::ADD_LAST, section, xml);
        let number = Client::of(&daemon).number::<NetworkUpdate>(&args);
        assert_eq!(number, Ok(refusal.number()), "{xml}");
    }
    daemon.kill();
    virtqemud.serve(&mut daemon);
    counted(&daemon);
    for number in 2..=3 {
        let other = virtqemud.allocate(&daemon, number, number).expect("a port");
        assert_ne!(other.vf, nic.vf, "it is lent once");
    }
    let stop = Client::of(&daemon).number::<NetworkDestroy>(&virtqemud.hw());
    assert_eq!(stop, Ok(ErrorCode::OperationInvalid.number()));
    let gold = port_xml(9, 9, "").replace("<mac", "<group>lead</group><mac");
    let args = PortCreateArgs { network: virtqemud.hw(), xml: Text::clipped(&gold), flags: 0 };
    let unknown = virtqemud.once(|client| client.number::<NetworkPortCreateXml>(&args));
    assert_eq!(unknown, Ok(ErrorCode::ConfigUnsupported.number()), "no such portgroup");
}

/// `managed` is yes or no: libvirt takes anything else for no.
#[test]
fn a_garbage_managed_is_refused() {
    let (daemon, _) = site();
    let garbage = WISHING.replace("managed='yes'", "managed='perhaps'");
    let number = Client::of(&daemon).number::<NetworkDefineXml>(&Text::clipped(&garbage));
    assert_eq!(number, Ok(ErrorCode::XmlError.number()));
}
