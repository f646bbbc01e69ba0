//! Guest documents: what is read prints the same way again, and fills in as libvirt's do.

use std::collections::BTreeMap;

use vfnet_model::guest::{
    Address, Attachment, CharSource, ConsoleTarget, Form, Guest, InterfaceModel, LiveGuest,
    Placement, parse, print, print_with_secrets,
};

use crate::corpus;

fn fixture(name: &str) -> Guest {
    let (_, text) = corpus::fixtures("guest")
        .into_iter()
        .find(|(file, _)| file == &format!("{name}.xml"))
        .unwrap();
    parse(&text).unwrap()
}

fn counter() -> impl FnMut() -> u64 {
    let mut next = 0;
    move || {
        next += 1;
        next
    }
}

#[test]
fn a_guest_is_where_all_its_virtual_cpus_are_pinned() {
    let of = |inside: &str| {
        let text = format!(
            "<domain type='qemu'><name>g</name><memory>1024</memory>{inside}\
             <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
        );
        parse(&text).unwrap().processors().into_iter().collect::<Vec<_>>()
    };
    let pin = |vcpu, cpus| format!("<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>");
    assert_eq!(of("<vcpu>2</vcpu>"), []);
    assert_eq!(of("<vcpu cpuset='4-5'>2</vcpu>"), [4, 5]);
    let tuned = |vcpu: &str, pins: &str| of(&format!("{vcpu}<cputune>{pins}</cputune>"));
    assert_eq!(tuned("<vcpu>2</vcpu>", &(pin(0, "4") + &pin(1, "6-7"))), [4, 6, 7]);
    assert_eq!(tuned("<vcpu>2</vcpu>", &pin(0, "4")), [], "the other may be anywhere");
    assert_eq!(tuned("<vcpu cpuset='5'>2</vcpu>", &pin(0, "4")), [4, 5]);
    assert_eq!(tuned("<vcpu>1</vcpu>", "<emulatorpin cpuset='3'/>"), []);
    assert_eq!(tuned("<vcpu>1</vcpu>", ""), []);
}

#[test]
fn what_is_printed_reads_as_the_same_guest() {
    for (name, text) in corpus::fixtures("guest") {
        let guest = parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let printed = print_with_secrets(&guest, Form::Inactive);
        let again = parse(&printed).unwrap_or_else(|fault| panic!("{name}: {fault}\n{printed}"));
        assert_eq!(again, guest, "{name}");
        assert_eq!(print_with_secrets(&again, Form::Inactive), printed, "{name}");
    }
}

#[test]
fn a_filled_in_guest_stays_as_it_is() {
    for (name, text) in corpus::fixtures("guest") {
        let mut guest = parse(&text).unwrap();
        guest.fill_in(&mut counter());
        let once = guest.clone();
        guest.fill_in(&mut || panic!("nothing is left to draw"));
        assert_eq!(guest, once, "{name}");
        let printed = print_with_secrets(&guest, Form::Inactive);
        assert_eq!(parse(&printed).unwrap(), guest, "{name}");
    }
}

#[test]
fn a_document_of_four_lines_is_completed() {
    let mut guest = fixture("smallest");
    guest.fill_in(&mut counter());
    insta::assert_snapshot!(print(&guest, Form::Inactive), @r#"
<domain type='qemu'>
  <name>smallest</name>
  <uuid>00000000-0000-4001-8000-000000000002</uuid>
  <memory unit='KiB'>65536</memory>
  <currentMemory unit='KiB'>65536</currentMemory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <boot dev='hd'/>
  </os>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <input type='mouse' bus='ps2'/>
    <input type='keyboard' bus='ps2'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"#);
}

#[test]
fn every_interface_gets_a_mac_of_its_own() {
    let interface = "<interface type='network'><source network='n'/></interface>";
    let zero = "<interface type='network'><mac address='00:00:00:00:00:00'/><source network='n'/>\
                </interface>";
    let mut guest = parse(&with_devices(&format!("{interface}{zero}"))).unwrap();
    // The second draw is the first one again.
    let mut draws = [0, 0, 5, 5, 6].into_iter();
    guest.fill_in(&mut || draws.next().unwrap());
    let macs: Vec<_> = guest.interfaces.iter().map(|it| it.mac.unwrap().to_string()).collect();
    assert_eq!(macs, ["52:54:00:00:00:05", "52:54:00:00:00:06"]);
    assert_eq!(guest.interfaces[0].model, Some(InterfaceModel::Rtl8139));
}

#[test]
fn a_running_guest_prints_its_interfaces_as_what_they_became() {
    let mut guest = fixture("teaming");
    guest.fill_in(&mut counter());
    let pci = |text: &str| Some(Address::Pci { at: text.parse().unwrap(), multifunction: None });
    guest.interfaces[0].placement.address = pci("0000:01:00.0");
    guest.interfaces[1].placement =
        Placement { alias: Some("hostdev0".to_owned()), address: pci("0000:02:00.0") };
    let live = LiveGuest {
        id: 7,
        interfaces: vec![
            Attachment::Bridge {
                bridge: "br0".parse().unwrap(),
                tap: "vfnet3".parse().unwrap(),
                port: None,
            },
            Attachment::Vf {
                address: "0000:01:10.2".parse().unwrap(),
                managed: true,
                model: None,
                vlan: Some(42.try_into().unwrap()),
            },
        ],
        ..LiveGuest::default()
    };
    let printed = print(&guest, Form::Live(&live));
    let from = printed.find("<interface").unwrap();
    let to = printed.rfind("</interface>").unwrap();
    insta::assert_snapshot!(&printed[from..to], @r#"
<interface type='bridge'>
      <mac address='52:54:00:00:00:07'/>
      <source bridge='br0'/>
      <target dev='vfnet3'/>
      <model type='virtio'/>
      <driver name='qemu'/>
      <teaming type='persistent'/>
      <link state='down'/>
      <alias name='ua-standby'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
    <interface type='hostdev' managed='yes'>
      <mac address='52:54:00:00:00:07'/>
      <driver name='vfio'/>
      <source>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
      </source>
      <vlan>
        <tag id='42'/>
      </vlan>
      <model type='rtl8139'/>
      <teaming type='transient' persistent='ua-standby'/>
      <alias name='hostdev0'/>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
"#);
    assert!(printed.starts_with("<domain type='qemu' id='7'>"));
    let inactive = print(&guest, Form::Inactive);
    assert!(inactive.contains("<source network='hw'/>"), "{inactive}");
    assert!(!inactive.contains("hostdev0"), "{inactive}");
}

#[test]
fn a_running_guest_prints_its_terminals_and_port() {
    let mut guest =
        parse(&with_devices("<console type='pty'/><graphics type='vnc' passwd='secret'/>"))
            .unwrap();
    guest.serials[0].placement.alias = Some("serial0".to_owned());
    guest.consoles[0].placement.alias = Some("serial0".to_owned());
    let live = LiveGuest {
        id: 1,
        ptys: BTreeMap::from([("serial0".to_owned(), "/dev/pts/4".to_owned())]),
        vnc_port: Some(5903),
        ..LiveGuest::default()
    };
    let printed = print(&guest, Form::Live(&live));
    let from = printed.find("<serial").unwrap();
    insta::assert_snapshot!(&printed[from..], @r#"
<serial type='pty'>
      <source path='/dev/pts/4'/>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
      <alias name='serial0'/>
    </serial>
    <console type='pty' tty='/dev/pts/4'>
      <source path='/dev/pts/4'/>
      <target type='serial' port='0'/>
      <alias name='serial0'/>
    </console>
    <graphics type='vnc' port='5903' autoport='yes' listen='127.0.0.1'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
  </devices>
</domain>
"#);
    assert!(print_with_secrets(&guest, Form::Live(&live)).contains("passwd='secret'"));
}

#[test]
fn a_running_guests_document_can_be_defined() {
    let mut guest = fixture("every-character-device");
    guest.fill_in(&mut counter());
    let wanted = guest.clone();
    let mut ptys = BTreeMap::new();
    for (place, serial) in guest.serials.iter_mut().enumerate() {
        serial.placement.alias = Some(format!("serial{place}"));
        ptys.insert(format!("serial{place}"), "/dev/pts/1".to_owned());
    }
    let live = LiveGuest { id: 3, ptys, ..LiveGuest::default() };
    assert_eq!(parse(&print(&guest, Form::Live(&live))).unwrap(), wanted);
}

#[test]
fn the_first_console_and_the_first_serial_port_are_one() {
    let console_only = parse(&with_devices("<console type='pty'/>")).unwrap();
    assert_eq!(console_only.serials[0].source, CharSource::Pty);
    let serial_only = parse(&with_devices("<serial type='pty'/>")).unwrap();
    assert_eq!(serial_only, console_only);
    let both = parse(&with_devices(
        "<serial type='file'><source path='/x'/></serial><console type='pty'/>",
    ))
    .unwrap();
    assert_eq!(both.consoles.len(), 1);
    assert!(matches!(both.consoles[0].source, CharSource::File { .. }));
    let virtio = parse(&with_devices(
        "<serial type='pty'/><console type='pty'><target type='virtio'/></console>",
    ))
    .unwrap();
    assert_eq!(virtio.consoles.len(), 1);
    assert_eq!(virtio.consoles[0].target, ConsoleTarget::Virtio);
}

#[test]
fn the_hosts_nodes_of_a_guests_memory_come_back_as_they_were_written() {
    let tune = "  <numatune>\n    <memory mode='interleave' nodeset='0-1'/>\n    \
                <memnode cellid='1' mode='strict' nodeset='3'/>\n  </numatune>\n";
    let text = format!(
        "<domain type='qemu'><name>a</name><memory>1</memory><vcpu>2</vcpu>{tune}<os>\
         <type>hvm</type></os><cpu><numa><cell id='0' cpus='0' memory='1024'/>\
         <cell id='1' cpus='1' memory='1024'/></numa></cpu></domain>"
    );
    let guest = parse(&text).unwrap();
    assert!(print(&guest, Form::Inactive).contains(tune));
    let tune = guest.numatune.unwrap();
    assert_eq!(tune.nodes().collect::<Vec<_>>(), [0, 1, 3]);
    let of_cell = |cell| tune.of_cell(cell).unwrap().nodes.to_string();
    assert_eq!([of_cell(0), of_cell(1)], ["0-1", "3"]);
    let empty = text
        .replace(&text[text.find("<memory mode").unwrap()..text.find("</numatune>").unwrap()], "");
    assert_eq!(parse(&empty).unwrap().numatune, None);
}

#[test]
fn memory_is_counted_in_the_unit_that_was_written() {
    for (memory, kib) in [
        ("<memory>65536</memory>", 65536),
        ("<memory unit='b'>1025</memory>", 2),
        ("<memory unit='KB'>1024</memory>", 1000),
        ("<memory unit='MiB'> 64 </memory>", 65536),
        ("<memory unit='GiB'>2</memory><currentMemory unit='TiB'>1</currentMemory>", 2 << 20),
        ("<memory unit='g'>1</memory><currentMemory>0</currentMemory>", 1 << 20),
    ] {
        let guest = parse(&format!(
            "<domain type='qemu'><name>m</name>{memory}<os><type>hvm</type></os></domain>"
        ))
        .unwrap();
        assert_eq!((guest.memory_kib, guest.current_memory_kib), (kib, kib), "{memory}");
    }
}

#[test]
fn what_libvirts_users_write_is_served_or_refused_by_name() {
    let Some(documents) = corpus::folder("domain") else { return };
    let mut accepted = Vec::new();
    let total = documents.len();
    for (name, text) in documents {
        match parse(&text) {
            Ok(mut guest) => {
                guest.fill_in(&mut counter());
                let printed = print_with_secrets(&guest, Form::Inactive);
                assert_eq!(parse(&printed).unwrap(), guest, "{name}");
                accepted.push(name);
            }
            Err(fault) => {
                eprintln!("{name}: {fault}");
                assert!(!fault.message.is_empty() && fault.line > 0, "{name}: {fault:?}");
            }
        }
    }
    eprintln!("{} of {total} accepted: {}", accepted.len(), accepted.join(" "));
}

fn with_devices(devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    )
}
