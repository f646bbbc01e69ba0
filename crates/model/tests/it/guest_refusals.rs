//! What a guest document cannot say, and what is answered.

use vfnet_model::guest::parse;
use vfnet_model::xml::Kind::{self, Detail, Internal, Invalid, NoName, Unsupported};

/// A guest in which a piece stands for `@`, on line 2.
fn guest(piece: &str) -> String {
    format!(
        "<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os>\n\
         {piece}</domain>"
    )
}

fn device(piece: &str) -> String {
    guest(&format!("<devices>{piece}</devices>"))
}

fn refused(text: &str, kind: Kind, path: &str, words: &str) {
    let Err(fault) = parse(text) else { panic!("accepted: {text}") };
    assert_eq!(fault.kind, kind, "{text}\n{fault}");
    assert_eq!(fault.path, path, "{text}\n{fault}");
    assert!(fault.message.contains(words), "{text}\n{fault}");
    assert!(fault.line > 0, "{text}");
}

#[test]
fn what_is_not_served_is_named_with_its_path() {
    let elements = [
        ("<genid/>", "genid"),
        ("<iothreads>1</iothreads>", "iothreads"),
        ("<resource/>", "resource"),
        ("<nonsense/>", "nonsense"),
    ];
    for (piece, name) in elements {
        refused(&guest(piece), Unsupported, &format!("/domain/{name}"), &format!("<{name}>"));
    }
    for (inside, words) in [
        ("<shares>2048</shares>", "<shares>"),
        ("<iothreadpin iothread='1' cpuset='2'/>", "<iothreadpin>"),
    ] {
        let piece = format!("<cputune>{inside}</cputune>");
        let path = format!("/domain/cputune/{}", words.trim_matches(['<', '>']));
        refused(&guest(&piece), Unsupported, &path, words);
    }
    let path = "/domain/cputune/vcpupin";
    for (inside, at, words) in [
        ("<vcpupin vcpu='1' cpuset='2'/>", "/@vcpu", "vcpu='1' of a guest whose last is 0"),
        ("<vcpupin vcpu='0' cpuset='x'/>", "/@cpuset", "no list of processors"),
        ("<vcpupin cpuset='2'/>", "/@vcpu", "vcpu"),
    ] {
        let piece = format!("<vcpu>1</vcpu><cputune>{inside}</cputune>");
        refused(&guest(&piece), Invalid, &format!("{path}{at}"), words);
    }
    for name in ["sound", "watchdog", "tpm", "panic", "filesystem", "vsock", "iommu", "redirdev"] {
        let path = format!("/domain/devices/{name}");
        refused(&device(&format!("<{name}/>")), Unsupported, &path, &format!("<{name}>"));
    }
    refused(
        "<domain type='qemu'><name>g</name><memory>1</memory><os firmware='efi'/></domain>",
        Unsupported,
        "/domain/os/@firmware",
        "name the image with <loader>",
    );
    let fault = parse(&guest("<genid/>")).unwrap_err();
    assert_eq!(fault.line, 2);
    assert_eq!(fault.to_string(), "element <genid> (at /domain/genid, line 2)");
}

#[test]
fn words_that_are_not_served_are_named_with_those_that_are() {
    let table = [
        ("<vcpu placement='auto'>1</vcpu>", "vcpu/@placement", "placement='auto'"),
        ("<vcpu>256</vcpu>", "vcpu", "at most 255"),
        ("<cpu mode='host-passthrough'/>", "", "without KVM"),
        ("<cpu match='minimum'><model>qemu64</model></cpu>", "cpu/@match", "minimum"),
        ("<cpu><numa><cell memory='1'/></numa></cpu>", "cpu/numa/cell", "without 'cpus'"),
        ("<cpu><cache mode='passthrough'/></cpu>", "cpu/cache", "not the host's"),
        ("<memoryBacking><hugepages/></memoryBacking>", "memoryBacking/hugepages", "<hugepages>"),
        (
            "<memoryBacking><source type='memfd'/></memoryBacking>",
            "memoryBacking/source/@type",
            "served: anonymous",
        ),
        (
            "<cpu><model>m</model><feature policy='forbid' name='x'/></cpu>",
            "cpu/feature/@policy",
            "served: force, require, optional, disable",
        ),
        (
            "<numatune><memory mode='restrictive' nodeset='0'/></numatune>",
            "numatune/memory/@mode",
            "served: strict, preferred, interleave",
        ),
        ("<numatune><memory placement='auto'/></numatune>", "numatune/memory/@placement", "static"),
        ("<cpu><topology sockets='2' cores='1' threads='1'/></cpu>", "", "topology"),
        ("<clock offset='variable'/>", "clock/@offset", "served: utc, localtime"),
        ("<clock><timer name='platform'/></clock>", "clock/timer/@name", "platform"),
        ("<on_poweroff>restart</on_poweroff>", "on_poweroff", "served: destroy, preserve"),
        ("<on_crash>coredump-destroy</on_crash>", "on_crash", "coredump-destroy"),
        ("<seclabel type='dynamic'/>", "seclabel/@type", "dynamic"),
        ("<features><smm state='on'><tseg/></smm></features>", "features/smm/tseg", "<tseg>"),
        (
            "<features><hyperv><vendor_id state='on' value='x'/></hyperv></features>",
            "features/hyperv/vendor_id",
            "vendor_id",
        ),
    ];
    for (piece, path, words) in table {
        let path = if path.is_empty() { "/domain".to_owned() } else { format!("/domain/{path}") };
        refused(&guest(piece), Unsupported, &path, words);
    }
}

#[test]
fn cells_and_widths_that_cannot_be_are_named() {
    let table = [
        ("<numa><cell cpus='0' memory='0'/></numa>", "/cpu/numa/cell/@memory", "without memory"),
        ("<numa><cell cpus='1' memory='1'/></numa>", "", "virtual CPU 1 of NUMA cell 0"),
        ("<numa><cell id='1' cpus='0' memory='1'/></numa>", "/cpu/numa", "not numbered 0, 1, 2"),
        (
            "<numa><cell cpus='0' memory='1'><distances><sibling id='1' value='20'/></distances>\
             </cell></numa>",
            "/cpu/numa",
            "not there",
        ),
        (
            "<numa><cell cpus='0' memory='1'><distances><sibling id='0' value='9'/></distances>\
             </cell></numa>",
            "/cpu/numa/cell/distances/sibling/@value",
            "at least 10",
        ),
        ("<maxphysaddr mode='emulate' bits='53'/>", "/cpu/maxphysaddr/@bits", "at most 52"),
    ];
    for (piece, path, words) in table {
        let text = guest(&format!("<cpu>{piece}</cpu>"));
        refused(&text, Invalid, &format!("/domain{path}"), words);
    }
}

#[test]
fn devices_that_are_not_served_are_named_with_what_is_wrong_of_them() {
    let disk = |driver: &str, rest: &str| {
        format!("<disk type='file'>{driver}<source file='/x'/>{rest}</disk>")
    };
    let interface =
        |rest: &str| format!("<interface type='network'><source network='n'/>{rest}</interface>");
    let vda = "<target dev='vda'/>";
    let table = [
        (disk("", "<target dev='fda' bus='fdc'/>"), "disk/target/@bus", "served: virtio"),
        (disk("", "<target dev='xvda'/>"), "disk/target", "without a bus"),
        (disk("", "<target dev='hda'/><readonly/>"), "disk", "a read-only disk on bus 'ide'"),
        (disk("<driver type='vmdk'/>", vda), "disk/driver/@type", "served: raw, qcow2"),
        (disk("<driver iothread='1'/>", vda), "disk/driver/@iothread", "iothread"),
        (disk("<driver io='native'/>", vda), "disk", "io='native'"),
        (disk("", &format!("{vda}<shareable/>")), "disk/shareable", "shareable"),
        (disk("", "<target dev='sda' bus='sata'/><readonly/>"), "disk", "read-only"),
        (
            disk("<driver type='qcow2'/>", &format!("{vda}<backingStore type='network'/>")),
            "disk/backingStore/@type",
            "served: file, block",
        ),
        ("<disk type='network'/>".to_owned(), "disk/@type", "served: file, block"),
        ("<disk device='floppy'/>".to_owned(), "disk/@device", "floppy"),
        ("<interface type='direct'/>".to_owned(), "interface/@type", "direct"),
        (interface("<model type='ne2k_pci'/>"), "interface/model/@type", "ne2k_pci"),
        (interface("<bandwidth/>"), "interface/bandwidth", "bandwidth"),
        (interface("<virtualport/>"), "interface/virtualport", "virtualport"),
        (interface("<vlan trunk='yes'><tag id='1'/></vlan>"), "interface/vlan/@trunk", "trunk"),
        (interface("<vlan><tag id='1'/><tag id='2'/></vlan>"), "interface/vlan/tag[2]", "trunk"),
        (interface("<driver name='vhost'/>"), "interface/driver/@name", "vhost"),
        (interface("<teaming type='persistent'/>"), "interface", "model other than virtio"),
        (interface("<teaming type='transient' persistent='ua-x'/>"), "", "ua-x"),
        ("<hostdev mode='subsystem' type='usb'/>".to_owned(), "hostdev/@type", "served: pci"),
        ("<serial type='tcp'/>".to_owned(), "serial/@type", "served: pty, file, unix"),
        ("<serial type='pty'><log file='/x'/></serial>".to_owned(), "serial/log", "log"),
        ("<graphics type='spice'/>".to_owned(), "graphics/@type", "served: vnc"),
        ("<graphics type='vnc' port='80'/>".to_owned(), "graphics/@port", "5900"),
        (
            "<graphics type='vnc' passwd='123456789'/>".to_owned(),
            "graphics/@passwd",
            "longer than 8",
        ),
        ("<video><model type='qxl'/></video>".to_owned(), "video/model/@type", "qxl"),
        ("<controller type='usb' model='ehci'/>".to_owned(), "controller/@model", "ehci"),
        (
            "<controller type='usb' index='1' model='ich9-ehci1'/>\
             <controller type='usb' index='0' model='ich9-uhci1'/>"
                .to_owned(),
            "controller[2]",
            "'ich9-ehci1' 0 before it",
        ),
        (
            "<controller type='usb' model='ich9-ehci1'/>\
             <controller type='usb' model='ich9-uhci2'><master startport='0'/></controller>"
                .to_owned(),
            "controller[2]/master/@startport",
            "port",
        ),
        (
            "<rng model='virtio'><backend model='random'>/etc/shadow</backend></rng>".to_owned(),
            "rng/backend",
            "/etc/shadow",
        ),
    ];
    for (piece, path, words) in table {
        let path = match path {
            "" => "/domain".to_owned(),
            path => format!("/domain/devices/{path}"),
        };
        refused(&device(&piece), Unsupported, &path, words);
    }
}

#[test]
fn hostile_values_are_refused() {
    let whole = |inner: &str| format!("<domain type='qemu'>{inner}</domain>");
    let named = |name: &str| {
        whole(&format!("<name>{name}</name><memory>1</memory><os><type>hvm</type></os>"))
    };
    refused(&named("a/b"), Detail, "/domain", "invalid char");
    refused(&named("a\nb"), Detail, "/domain", "invalid char");
    refused(&named(""), NoName, "/domain", "empty");
    refused(&whole("<memory>1</memory>"), NoName, "/domain", "<name> is missing");
    assert_eq!(parse(&named("a\0b")).unwrap_err().kind, Kind::Malformed);
    for memory in [
        "<memory>0</memory>",
        "",
        "<memory>-1</memory>",
        "<memory unit='GiB'>18446744073709551615</memory>",
        "<memory>99999999999999999999999</memory>",
        "<memory unit='furlong'>1</memory>",
    ] {
        let text = whole(&format!("<name>g</name>{memory}<os><type>hvm</type></os>"));
        assert_eq!(parse(&text).unwrap_err().kind, Invalid, "{memory}");
    }
    for (piece, path, words) in [
        ("<memory/>", "/memory", "nodeset"),
        ("<memory nodeset='x'/>", "/memory", "no list of NUMA nodes"),
        ("<memory mode='preferred' nodeset='0-1'/>", "/memory", "of one node"),
        ("<memnode cellid='0' nodeset='0'/>", "", "NUMA cell 0, which is not there"),
        ("<memnode cellid='a' nodeset='0'/>", "/memnode", "cellid"),
    ] {
        let text = guest(&format!("<numatune>{piece}</numatune>"));
        let path = if path.is_empty() { "/domain" } else { &format!("/domain/numatune{path}") };
        refused(&text, Invalid, path, words);
    }
    refused(&guest("<vcpu>0</vcpu>"), Invalid, "/domain/vcpu", "more than 0");
    refused(&guest("<vcpu current='3'>2</vcpu>"), Invalid, "/domain/vcpu", "current='3' of 2");
    refused(&guest("<uuid>x</uuid>"), Internal, "/domain/uuid", "malformed uuid");
    refused(&guest("<title>a\nb</title>"), Invalid, "/domain", "one line");
    let interface = |inner: &str| {
        device(&format!("<interface type='network'><source network='n'/>{inner}</interface>"))
    };
    let at = "/domain/devices/interface";
    for (inner, path, words) in [
        ("<mac address='01:00:00:00:00:01'/>", "mac/@address", "unicast"),
        ("<mac address='ff:ff:ff:ff:ff:ff'/>", "mac/@address", "unicast"),
        ("<mac address='x'/>", "mac/@address", "not a MAC"),
        ("<vlan><tag id='4096'/></vlan>", "vlan/tag/@id", "4096"),
        ("<vlan/>", "vlan", "needs a <tag>"),
        ("<boot order='0'/>", "boot/@order", "from 1"),
        ("<alias name='ua-,x=y'/>", "alias/@name", "invalid alias"),
        ("<target dev='longer-than-fifteen'/>", "target/@dev", "too long"),
    ] {
        refused(&interface(inner), Invalid, &format!("{at}/{path}"), words);
    }
    refused(
        &device("<interface type='network'><source network='a/b'/></interface>"),
        Invalid,
        "/domain/devices/interface/source/@network",
        "invalid char",
    );
    refused(
        &device("<disk type='file'><source file='x'/><target dev='vda'/></disk>"),
        Invalid,
        "/domain/devices/disk/source/@file",
        "absolute",
    );
    refused(
        &device("<disk type='file'><source file='/x'/><target dev='v,da'/></disk>"),
        Invalid,
        "/domain/devices/disk/target/@dev",
        "invalid value",
    );
    let behind = "<backingStore type='file'><format type='raw'/><source file='/y'/></backingStore>";
    refused(
        &device(&format!("<disk><source file='/x'/><target dev='vda'/>{behind}</disk>")),
        Invalid,
        "/domain/devices/disk/backingStore",
        "a raw image has nothing behind it",
    );
    let disk = "<disk type='file'><source file='/x'/><target dev='vda'/></disk>";
    refused(&device(&format!("{disk}{disk}")), Invalid, "/domain", "two disks");
    refused(
        &device(
            "<hostdev mode='subsystem' type='pci'><source><address bus='0x100'/></source></hostdev>",
        ),
        Invalid,
        "/domain/devices/hostdev/source/address/@bus",
        "256",
    );
    refused(
        &guest("<cpu><model>qemu64,x=y</model></cpu>"),
        Invalid,
        "/domain/cpu/model",
        "CPU model",
    );
}

#[test]
fn a_very_long_document_is_answered_soon() {
    for piece in [
        "<disk device='cdrom'><target dev='sdN'/></disk>",
        "<controller type='sata'/>",
        "<controller type='sata' index='0'/>",
        "<interface type='network'><source network='n'/></interface>",
        "<channel type='pty'><target type='virtio'/></channel>",
    ] {
        let mut devices = String::new();
        let mut number = 0;
        while devices.len() < 1_000_000 {
            devices.push_str(&piece.replace('N', &number.to_string()));
            number += 1;
        }
        let fault = parse(&device(&devices)).unwrap_err();
        assert_eq!(fault.kind, Unsupported, "{piece}: {fault}");
        assert!(fault.message.starts_with("more than "), "{piece}: {fault}");
    }
    let mut features = String::new();
    for number in 0..20_000 {
        features.push_str(&format!("<feature policy='require' name='f{number}'/>"));
    }
    let guest = parse(&guest(&format!("<cpu><model>m</model>{features}</cpu>"))).unwrap();
    assert_eq!(guest.cpu.unwrap().features.len(), 20_000);
}
