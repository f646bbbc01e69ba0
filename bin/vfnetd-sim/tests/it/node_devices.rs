//! The machine's devices: what there is, and what comes and goes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use vfnet_host_sim::SimHost;
use vfnet_model::PciAddress;
use vfnet_rpc::client::Received;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::{
    CONNECT_LIST_NODE_DEVICES_CAP_NET as CAP_NET, CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV as CAP_PCI,
    CONNECT_LIST_NODE_DEVICES_INACTIVE as INACTIVE,
    CONNECT_LIST_NODE_DEVICES_PERSISTENT as PERSISTENT, node_device_event, node_device_lifecycle,
};
use vfnet_rpc::objects::{ListArgs, NodeDevice};
use vfnet_rpc::remote::{
    CallbackArgs, ConnectListAllNodeDevices, ConnectNodeDeviceEventDeregisterAny,
    ConnectNodeDeviceEventRegisterAny, NodeDeviceEventRegister, NodeDeviceFlags,
    NodeDeviceGetAutostart, NodeDeviceGetParent, NodeDeviceGetXmlDesc, NodeDeviceIsActive,
    NodeDeviceIsPersistent, NodeDeviceListArgs, NodeDeviceListCaps, NodeDeviceListCapsArgs,
    NodeDeviceLookupByName, NodeDeviceNumArgs, NodeDeviceNumOfCaps, NodeListDevices,
    NodeNumOfDevices, RemoteEvent,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::Daemon;
use crate::{VIRSH, installed, until};

const PF: &str = "pci_0000_01_00_0";
const VF: &str = "pci_0000_01_10_0";

fn pf() -> PciAddress {
    "0000:01:00.0".parse().expect("an address")
}

fn name(name: &str) -> Text {
    Text::clipped(name)
}

fn list(client: &mut Client, flags: u32) -> Vec<String> {
    let args = ListArgs { need_results: 1, flags };
    let listed = client.ask::<ConnectListAllNodeDevices>(&args).expect("a list");
    assert_eq!(listed.count as usize, listed.objects.len());
    listed.objects.iter().map(|device| device.name.to_string()).collect()
}

#[test]
fn devices_are_listed_by_what_they_are_and_by_what_becomes_of_them() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:2"]);
    let mut client = Client::of(&daemon);
    let all = list(&mut client, 0);
    assert_eq!(all[..5], ["computer", "pci_0000_00_01_0", PF, VF, "pci_0000_01_10_2"]);
    assert!(all[5..].iter().all(|it| it.starts_with("net_")) && all.len() == 8, "{all:?}");
    assert_eq!(list(&mut client, CAP_PCI), all[1..5]);
    assert_eq!(list(&mut client, CAP_NET), all[5..]);
    assert_eq!(list(&mut client, CAP_PCI | CAP_NET), all[1..]);
    assert_eq!(list(&mut client, PERSISTENT), ["computer"]);
    assert_eq!(list(&mut client, INACTIVE), [""; 0]);
    assert_eq!(list(&mut client, 1 << 21), [""; 0]);
    let unknown =
        client.number::<ConnectListAllNodeDevices>(&ListArgs { need_results: 0, flags: 1 << 25 });
    assert_eq!(unknown, Ok(ErrorCode::InvalidArg.number()));
}

#[test]
fn the_old_calls_agree_with_the_new_one() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:2"]);
    let mut client = Client::of(&daemon);
    for (capability, flags) in [(None, 0), (Some("pci"), CAP_PCI), (Some("net"), CAP_NET)] {
        let capability = capability.map(name);
        let count = NodeDeviceNumArgs { capability: capability.clone(), flags: 0 };
        let new = list(&mut client, flags);
        let count = client.ask::<NodeNumOfDevices>(&count).expect("a number");
        assert_eq!(usize::try_from(count), Ok(new.len()));
        let args = NodeDeviceListArgs { capability, room: count, flags: 0 };
        let names = client.ask::<NodeListDevices>(&args).expect("names");
        assert!(names.iter().map(|it| it.to_string()).eq(new));
    }
    let one = NodeDeviceListArgs { capability: None, room: 1, flags: 0 };
    assert_eq!(client.ask::<NodeListDevices>(&one).expect("names").len(), 1);
}

#[test]
fn a_device_is_asked_about_by_its_name() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:2"]);
    let mut client = Client::of(&daemon);
    client.ask::<NodeDeviceLookupByName>(&name(VF)).expect("there");
    let parent = client.ask::<NodeDeviceGetParent>(&name(VF)).expect("an answer");
    assert_eq!(parent.as_deref(), Some("pci_0000_00_01_0"));
    assert_eq!(client.ask::<NodeDeviceGetParent>(&name("computer")).expect("an answer"), None);
    assert_eq!(client.ask::<NodeDeviceNumOfCaps>(&name(VF)).expect("a number"), 1);
    let caps = NodeDeviceListCapsArgs { name: name(VF), room: 8 };
    let caps = client.ask::<NodeDeviceListCaps>(&caps).expect("capabilities");
    assert!(caps.iter().map(|it| &**it).eq(["pci"]));
    assert_eq!(client.ask::<NodeDeviceIsActive>(&name(VF)).expect("an answer"), 1);
    for (device, defined) in [("computer", 1), (VF, 0)] {
        let it = name(device);
        assert_eq!(client.ask::<NodeDeviceIsPersistent>(&it).expect("an answer"), defined);
        assert_eq!(client.ask::<NodeDeviceGetAutostart>(&it).expect("an answer"), defined);
        let inactive = NodeDeviceFlags { name: it, flags: 1 };
        assert_eq!(client.ask::<NodeDeviceGetXmlDesc>(&inactive).is_ok(), defined == 1);
    }
    let gone = name("pci_0000_7f_00_0");
    let number = Ok(ErrorCode::NoNodeDevice.number());
    assert_eq!(client.number::<NodeDeviceLookupByName>(&gone), number);
    assert_eq!(client.number::<NodeDeviceGetParent>(&gone), number);
    let document = NodeDeviceFlags { name: gone, flags: 0 };
    assert_eq!(client.number::<NodeDeviceGetXmlDesc>(&document), number);
}

#[test]
fn a_pfs_document_has_the_vfs_of_this_moment() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let mut document = || {
        let args = NodeDeviceFlags { name: name(PF), flags: 0 };
        client.ask::<NodeDeviceGetXmlDesc>(&args).expect("a document").to_string()
    };
    assert!(document().contains("<capability type='virt_functions' maxCount='7'/>"));
    daemon.host().make_vfs(pf(), 2).expect("made");
    let with = document();
    assert!(with.contains("<address domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>"));
}

/// What a client hears, as `+NAME`, `-NAME` and `~NAME`, with the registration's number.
fn hear(client: &mut Client, wanted: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < wanted {
        heard.push(match client.receive() {
            Some(Received::Event(RemoteEvent::NodeDeviceEventLifecycle(body))) => {
                let sign = match body.event {
                    node_device_lifecycle::CREATED => '+',
                    node_device_lifecycle::DELETED => '-',
                    other => panic!("{other}"),
                };
                format!("{} {sign}{}", body.callback, body.device.name)
            }
            Some(Received::Event(RemoteEvent::NodeDeviceEventUpdate(body))) => {
                format!("{} ~{}", body.callback, body.device.name)
            }
            other => panic!("{other:?} after {heard:?}"),
        });
    }
    heard
}

fn listen(client: &mut Client, event: i32, device: Option<&str>) -> i32 {
    let device = device.map(|it| NodeDevice { name: name(it) });
    let args = NodeDeviceEventRegister { event, device };
    client.ask::<ConnectNodeDeviceEventRegisterAny>(&args).expect("registered")
}

/// Without what depends on chance: the names of netdevs end in their MACs.
fn without_macs(heard: Vec<String>) -> Vec<String> {
    heard
        .into_iter()
        .map(|it| it.split_once("net_").map_or(it.clone(), |(sign, _)| format!("{sign}net")))
        .collect()
}

#[test]
fn devices_are_heard_of_as_they_come_and_go() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    assert_eq!(listen(&mut client, node_device_event::LIFECYCLE, None), 1);
    assert_eq!(listen(&mut client, node_device_event::UPDATE, None), 2);
    let host: SimHost = daemon.host();
    host.make_vfs(pf(), 2).expect("made");
    let heard = without_macs(hear(&mut client, 5));
    let pf_changed = format!("2 ~{PF}");
    let second = "pci_0000_01_10_2";
    assert_eq!(
        heard,
        [&format!("1 +{VF}"), &format!("1 +{second}"), "1 +net", "1 +net", &*pf_changed]
    );
    host.remove_vfs(pf()).expect("removed");
    let heard = without_macs(hear(&mut client, 5));
    assert_eq!(
        heard,
        ["1 -net", "1 -net", &format!("1 -{second}"), &format!("1 -{VF}"), &*pf_changed]
    );
    host.rename_pf(pf(), &"wan".parse().expect("a name"));
    assert_eq!(without_macs(hear(&mut client, 2)), ["1 -net", "1 +net"]);
}

#[test]
fn a_listener_hears_of_its_device_alone_and_of_nothing_once_it_has_left() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let one = listen(&mut client, node_device_event::LIFECYCLE, Some(VF));
    let all = listen(&mut client, node_device_event::LIFECYCLE, None);
    client
        .ask::<ConnectNodeDeviceEventDeregisterAny>(&CallbackArgs { callback: all })
        .expect("left");
    let host = daemon.host();
    host.make_vfs(pf(), 2).expect("made");
    assert_eq!(hear(&mut client, 1), [format!("{one} +{VF}")]);
    host.remove_vfs(pf()).expect("removed");
    assert_eq!(hear(&mut client, 1), [format!("{one} -{VF}")]);
    let unknown = NodeDeviceEventRegister { event: 7, device: None };
    let unknown = client.number::<ConnectNodeDeviceEventRegisterAny>(&unknown);
    assert_eq!(unknown, Ok(ErrorCode::InvalidArg.number()));
}

#[test]
fn virsh_hears_of_vfs_that_are_made() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::start();
    let command = ["nodedev-event", "--event", "lifecycle", "--loop", "--timestamp"];
    let mut virsh = daemon.virsh_command(&command).stdout(Stdio::piped()).spawn().expect("virsh");
    let lines = BufReader::new(virsh.stdout.take().expect("a pipe")).lines();
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let host = daemon.host();
    let heard = |device: &str, change: &str| {
        said.try_iter().any(|line| line.contains(device) && line.contains(change))
    };
    // virsh does not say when it listens, so VFs come and go until it has heard of one.
    let mut made = false;
    until("virsh hears of a VF", || {
        made = !made;
        host.make_vfs(pf(), u16::from(made)).expect("made or removed");
        std::thread::sleep(std::time::Duration::from_millis(100));
        heard(VF, "Created")
    });
    host.remove_vfs(pf()).expect("removed");
    until("virsh hears of its end", || heard(VF, "Deleted"));
    virsh.kill().and_then(|()| virsh.wait()).expect("ended");
}
