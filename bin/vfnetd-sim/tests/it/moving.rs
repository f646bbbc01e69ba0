//! Moving over: from a libvirt host's files, and out to files and back in.

mod machine;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest, guest_with};
use crate::stock::Stock;

/// What libvirt puts before every document that it keeps.
const HEADER: &str = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO \
BE\nOVERWRITTEN AND LOST.\n-->\n\n";

const POOL: &str = "\
<network>
  <name>hw</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
  </forward>
</network>
";

const NAT: &str = "\
<network>
  <name>default</name>
  <uuid>22222222-2222-4222-8222-222222222222</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'/>
</network>
";

const FAR: &str = "33333333-3333-4333-8333-333333333333";
const BY_FILE: &str = "44444444-4444-4444-8444-444444444401";
const BY_GUEST: &str = "44444444-4444-4444-8444-444444444402";
const ON_BRIDGE: &str = "44444444-4444-4444-8444-444444444403";

const BRIDGE: &str = "\
<network>
  <name>office</name>
  <uuid>66666666-6666-4666-8666-666666666666</uuid>
  <forward mode='bridge'/>
  <bridge name='br0'/>
</network>
";

fn port(uuid: &str, mac: &str, function: u8) -> String {
    format!(
        "<networkport>\n  <uuid>{uuid}</uuid>\n  <owner>\n    <name>far</name>\n    \
         <uuid>{FAR}</uuid>\n  </owner>\n  <mac address='{mac}'/>\n  \
         <plug type='hostdev-pci' managed='yes'>\n    <address domain='0x0000' bus='0x01' \
         slot='0x10' function='{function:#x}'/>\n  </plug>\n</networkport>\n"
    )
}

/// A running guest of libvirt's with a NIC on each of two ports.
fn running_guest() -> String {
    let nic = |port: &str, mac: &str, function: u8| {
        format!(
            "<interface type='network'><mac address='{mac}'/>\
             <source network='hw' portid='{port}'/>\
             <actual type='hostdev' managed='yes'><source><address type='pci' domain='0x0000' \
             bus='0x01' slot='0x10' function='{function:#x}'/></source>\
             <vlan><tag id='7'/></vlan></actual></interface>"
        )
    };
    format!(
        "<domstatus state='running' reason='booted' pid='77'>\n\
         <monitor path='/var/lib/libvirt/qemu/domain-1-far/monitor.sock' type='unix'/>\n\
         <domain type='kvm' id='1'><name>far</name><uuid>{FAR}</uuid><devices>{}{}\
         <interface type='network'><mac address='52:54:00:00:00:03'/>\
         <source network='office' portid='{ON_BRIDGE}' bridge='br0'/><actual type='bridge'>\
         <source bridge='br0'/></actual></interface></devices>\
         </domain>\n</domstatus>\n",
        nic(BY_FILE, "52:54:00:00:00:01", 0),
        nic(BY_GUEST, "52:54:00:00:00:02", 2),
    )
}

fn put(root: &Path, path: &str, document: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(path, format!("{HEADER}{document}")).expect("a file");
}

fn link(root: &Path, path: &str, to: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::os::unix::fs::symlink(to, path).expect("a link");
}

/// A libvirt host with networks, guests and running ports.
fn libvirt_host(root: &Path) {
    put(root, "etc/libvirt/qemu/networks/hw.xml", POOL);
    put(root, "etc/libvirt/qemu/networks/default.xml", NAT);
    link(root, "etc/libvirt/qemu/networks/autostart/hw.xml", "/etc/libvirt/qemu/networks/hw.xml");
    let member = "<interface dev='enp9s0'/>";
    let trunk = format!(
        "<network><name>trunk</name><forward mode='hostdev'>{member}</forward>\
         <vlan trunk='yes'><tag id='1'/><tag id='2'/></vlan></network>"
    );
    put(root, "etc/libvirt/qemu/networks/trunk.xml", &trunk);
    let status = |network: &str| {
        format!(
            "<networkstatus>\n<class_id bitmap='0-2'/>\n<floor sum='0'/>\n{network}</networkstatus>\n"
        )
    };
    put(root, "run/libvirt/network/hw.xml", &status(POOL));
    // Transient.
    put(root, "run/libvirt/network/office.xml", &status(BRIDGE));
    put(root, "run/libvirt/network/default.xml", &status(NAT));
    put(
        root,
        &format!("run/libvirt/network/hw/ports/{BY_FILE}.xml"),
        &port(BY_FILE, "52:54:00:00:00:01", 0),
    );
    let web1 = guest("web1", "52:54:00:00:00:09")
        .replace("<memory", "<uuid>55555555-5555-4555-8555-555555555555</uuid><memory");
    put(root, "etc/libvirt/qemu/web1.xml", &web1);
    link(root, "etc/libvirt/qemu/autostart/web1.xml", "/etc/libvirt/qemu/web1.xml");
    put(root, "etc/libvirt/qemu/odd.xml", &guest_with("odd", "<frobnicator/>"));
    put(root, "etc/libvirt/qemu/torn.xml", "<domain type='kvm'>");
    put(root, "run/libvirt/qemu/far.xml", &running_guest());
}

fn vfnet(daemon: &Daemon, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    command.args(args).env("VFNET_SOCKET", daemon.socket()).stdin(Stdio::null());
    command.output().expect("vfnet runs").into()
}

/// What became of each thing: `OUTCOME ACTION KIND NAME`.
fn moved(ran: &Ran) -> Vec<String> {
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let items = report["items"].as_array().expect("a list").clone();
    let word = |item: &Value, member: &str| item[member].as_str().unwrap_or_default().to_owned();
    let line = |item: &Value| {
        ["outcome", "action", "kind", "name"].map(|member| word(item, member)).join(" ")
    };
    items.iter().map(line).collect()
}

#[test]
fn a_libvirt_host_is_taken_over_and_a_second_time_nothing_changes() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    daemon.host().make_vfs("0000:01:00.0".parse().expect("an address"), 7).expect("made");
    let root = daemon.path("host");
    libvirt_host(&root);
    let root = root.display().to_string();
    let import = ["import", "--from-libvirt", "--root", &root, "--json"];

    let planned = vfnet(&daemon, &[&import[..], &["--plan"]].concat());
    let expected = |begun: &str| {
        vec![
            "left define network default".to_owned(),
            format!("{begun} define network hw"),
            format!("{begun} autostart network hw"),
            format!("{begun} start network hw"),
            format!("{begun} reclaim port {BY_FILE}"),
            format!("{begun} reclaim port {BY_GUEST}"),
            format!("{begun} start network office"),
            format!("{begun} reclaim port {ON_BRIDGE}"),
            "refused define network trunk".to_owned(),
            "left define guest far".to_owned(),
            "refused define guest odd".to_owned(),
            format!("{begun} define guest web1"),
            format!("{begun} autostart guest web1"),
            "refused define guest torn".to_owned(),
        ]
    };
    assert_eq!(moved(&planned), expected("planned"));
    assert_eq!(planned.status.code(), Some(1), "some are refused");
    assert!(daemon.rows(&["net-list", "--all"]).is_empty());

    assert_eq!(moved(&vfnet(&daemon, &import)), expected("done"));
    assert_eq!(daemon.rows(&["net-list", "--all"]), ["hw active yes yes", "office active no no"]);
    assert_eq!(daemon.rows(&["net-port-list", "office"]), [ON_BRIDGE]);
    assert_eq!(daemon.rows(&["list", "--all", "--autostart"]), ["- web1 shut off"]);
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("connections='2'"));
    let port = daemon.says(&["net-port-dumpxml", "hw", BY_GUEST]);
    for part in ["<name>far</name>", "<tag id='7'/>", "slot='0x10' function='0x2'/>"] {
        assert!(port.contains(part), "{port}");
    }
    let lent: Vec<_> = Client::of(&daemon)
        .vfs()
        .into_iter()
        .filter(|vf| vf.state != "free")
        .map(|vf| vf.address.to_string())
        .collect();
    assert_eq!(lent, ["0000:01:10.0", "0000:01:10.2"]);

    let again = vfnet(&daemon, &import);
    assert_eq!(moved(&again), expected("unchanged"));
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn what_is_refused_is_said_with_place_and_reason() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    let root = daemon.path("host");
    libvirt_host(&root);
    let root_name = root.display().to_string();
    let ran = vfnet(&daemon, &["import", "--from-libvirt", "--root", &root_name]);
    let line = |start: &str| {
        let at = ran.stdout.lines().position(|line| line.starts_with(start));
        let at = at.unwrap_or_else(|| panic!("{start}: {}", ran.stdout));
        ran.stdout.lines().skip(at).take(2).collect::<Vec<_>>().join("\n")
    };
    assert!(line("left       define network default: forward mode 'nat'").contains("stock"));
    let odd = line("refused    define guest odd: ");
    assert!(odd.contains("frobnicator") && odd.contains("/domain/devices"), "{odd}");
    assert!(odd.ends_with("/etc/libvirt/qemu/odd.xml"), "{odd}");
    // There are no VFs here: the network is defined, cannot be started, and so its ports.
    line("done       define network hw");
    line("refused    start network hw: ");
    assert!(line(&format!("refused    reclaim port {BY_FILE}")).contains("not taken over"));
    assert!(ran.stderr.contains("could not be moved"), "{}", ran.stderr);
    assert_eq!(ran.status.code(), Some(1));

    let nothing = vfnet(&daemon, &["import", "--from-libvirt", "--root", "/nonexistent"]);
    assert!(nothing.stderr.contains("/nonexistent/etc/libvirt/qemu"), "{}", nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn ports_that_have_lost_their_network_are_said_and_a_newer_document_replaces_an_older() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    let root = daemon.path("host");
    let root_name = root.display().to_string();
    let import = ["import", "--from-libvirt", "--root", &root_name, "--json"];
    put(&root, "run/libvirt/qemu/far.xml", &running_guest());
    put(&root, "etc/libvirt/qemu/networks/other.xml", NAT);
    let expected = |why: &str, ran: &Ran| {
        for port in [BY_FILE, BY_GUEST] {
            assert!(moved(ran).contains(&format!("refused reclaim port {port}")), "{}", ran.stdout);
        }
        assert!(ran.stdout.contains(why), "{}", ran.stdout);
    };
    expected("there is no network 'hw'", &vfnet(&daemon, &import));
    put(&root, "etc/libvirt/qemu/networks/hw.xml", POOL);
    expected("network 'hw' is not active any more", &vfnet(&daemon, &import));
    let titled = POOL.replace("<forward", "<title>newer</title>\n  <forward");
    put(&root, "etc/libvirt/qemu/networks/hw.xml", &titled);
    expected("in place of what vfnet has", &vfnet(&daemon, &import));
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("<title>newer</title>"));
}

/// Every file below a directory with its text, or where it leads.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir_) = open.pop() {
        for entry in std::fs::read_dir(&dir_).expect("a directory").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(dir).expect("below").display().to_string();
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                let to = std::fs::read_link(&path).expect("a link");
                files.insert(name, to.display().to_string());
            } else {
                files.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }
    files
}

#[test]
fn what_is_exported_is_imported_elsewhere_as_it_was() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(one) = Daemon::with_pool() else { return };
    one.says(&["net-autostart", "hw"]);
    one.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let vnc = "<graphics type='vnc' port='-1' autoport='yes' passwd='hush'/>";
    one.define_guest(&guest_with("web2", vnc));
    one.says(&["autostart", "web2"]);
    one.says(&["start", "web1"]);
    one.says(&["net-port-create", "hw", &one.file("port.xml", &port_asked_for())]);
    let dir = one.path("export");
    let to = dir.display().to_string();
    let ran = vfnet(&one, &["export", &to]);
    assert_eq!(ran.stderr, "");
    assert!(
        ran.stdout.contains("export network hw: stock libvirt ignores <vfnet:…>"),
        "{}",
        ran.stdout
    );
    let files = tree(&dir);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "qemu/autostart/web2.xml",
            "qemu/networks/autostart/hw.xml",
            "qemu/networks/hw.xml",
            "qemu/web1.xml",
            "qemu/web2.xml",
            "running/network/hw.xml",
            &format!("running/network/hw/ports/{BY_FILE}.xml"),
        ]
    );
    assert_eq!(files["qemu/networks/hw.xml"], HW);
    assert_eq!(files["qemu/networks/autostart/hw.xml"], "../hw.xml");
    assert!(files["qemu/web2.xml"].contains("passwd='hush'"));
    let mode = std::fs::metadata(dir.join("qemu/web2.xml")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let refused = vfnet(&one, &["export", &to]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("is there already; nothing was written"), "{}", refused.stderr);
    assert!(vfnet(&one, &["export", &to, "--force"]).status.success());
    assert_eq!(tree(&dir), files);

    let other = Daemon::start();
    let ran = vfnet(&other, &["import", &to, "--json"]);
    assert!(moved(&ran).iter().all(|line| line.starts_with("done ")), "{}", ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let copy = other.path("export");
    vfnet(&other, &["export", &copy.display().to_string()]);
    assert_eq!(tree(&copy), files.into_iter().map(without_count).collect());
}

/// One of the first daemon's ports was its own guest's, and does not move.
fn without_count((name, text): (String, String)) -> (String, String) {
    (name, text.replace(" connections='2'", " connections='1'"))
}

fn port_asked_for() -> String {
    format!(
        "<networkport><uuid>{BY_FILE}</uuid><owner><name>far</name><uuid>{FAR}</uuid></owner>\
         <mac address='52:54:00:00:00:08'/></networkport>"
    )
}

#[test]
fn what_stock_libvirt_had_it_has_again_by_way_of_vfnet() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    daemon.host().make_vfs("0000:01:00.0".parse().expect("an address"), 3).expect("made");
    let (here, back) = (daemon.path("here"), daemon.path("back"));
    machine::make(&here.join("sys"));
    let Some(libvirt) = Stock::start(&here) else { return };
    libvirt.says(&["net-define", &daemon.file("pool.xml", POOL)]);
    libvirt.says(&["net-define", &daemon.file("nat.xml", NAT)]);
    libvirt.says(&["net-autostart", "hw"]);
    libvirt.says(&["net-start", "hw"]);
    libvirt.says(&["net-port-create", "hw", &daemon.file("port.xml", &port_asked_for())]);
    let says = |libvirt: &Stock| {
        [
            &["net-dumpxml", "hw", "--inactive"][..],
            &["net-info", "hw"],
            &["net-port-list", "hw"],
            &["net-port-dumpxml", "hw", BY_FILE],
        ]
        // What libvirt leaves to be understood, vfnet says.
        .map(|command| libvirt.says(command).replace("    <driver name='vfio'/>\n", ""))
    };
    let had = says(&libvirt);
    drop(libvirt);

    let from = here.display().to_string();
    let ran = vfnet(&daemon, &["import", "--from-libvirt", "--root", &from, "--json"]);
    assert_eq!(
        moved(&ran),
        [
            "left define network default",
            "done define network hw",
            "done autostart network hw",
            "done start network hw",
            &format!("done reclaim port {BY_FILE}"),
        ]
    );
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);

    let out = daemon.path("out");
    assert!(vfnet(&daemon, &["export", &out.display().to_string()]).status.success());
    machine::make(&back.join("sys"));
    for (from, to) in [("qemu", "etc/libvirt/qemu"), ("running/network", "run/libvirt/network")] {
        let to = back.join(to);
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        let copied = Command::new("cp").arg("-a").args([&out.join(from), &to]).status();
        assert!(copied.expect("cp runs").success());
    }
    let Some(libvirt) = Stock::start(&back) else { return };
    assert_eq!(says(&libvirt), had);
    assert!(libvirt.says(&["net-dumpxml", "hw"]).contains("connections='1'"));
}
