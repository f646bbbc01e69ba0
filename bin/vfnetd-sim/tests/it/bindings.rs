//! libvirt's bindings for Python and Perl, with their event loops.

use std::process::Command;

use crate::daemon::{Daemon, HW, Ran, guest};
use crate::installed;

pub(crate) const PYTHON: &str = "/usr/bin/python3";
const PERL: &str = "/usr/bin/perl";

/// Another daemon's guest asks for a VF.
const PORT: &str = "\
<networkport>
  <uuid>22222222-2222-4222-8222-222222222201</uuid>
  <owner>
    <name>far</name>
    <uuid>33333333-3333-4333-8333-333333333333</uuid>
  </owner>
  <mac address='52:54:00:00:00:11'/>
</networkport>
";

/// A guest's life; says so at its end.
const LIFE: &str = r#"
import sys
import libvirt

uri, hw, web1 = sys.argv[1:4]
libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(uri)
events = []
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    lambda c, d, event, detail, o: events.append((d.name(), event)), None)

def refused(code, call, *args):
    try:
        call(*args)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, (error.get_error_code(), str(error))
        return
    raise AssertionError('%s was granted' % call)

refused(libvirt.VIR_ERR_NO_NETWORK, conn.networkLookupByName, 'hw')
refused(libvirt.VIR_ERR_XML_ERROR, conn.networkDefineXML, '<network>')
net = conn.networkDefineXML(hw)
assert not net.isActive() and net.isPersistent()
net.create()
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.create)
assert [n.name() for n in conn.listAllNetworks()] == ['hw']

dom = conn.defineXML(web1)
dom.create()
assert dom.isActive() and dom.ID() == 1 and dom.info()[0] == libvirt.VIR_DOMAIN_RUNNING
assert "type='hostdev'" in dom.XMLDesc()
assert "type='network'" in dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
assert len(net.listAllPorts()) == 1
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.destroy)
dom.suspend()
dom.resume()
dom.destroy()
refused(libvirt.VIR_ERR_OPERATION_INVALID, dom.destroy)
assert net.listAllPorts() == []

while (('web1', libvirt.VIR_DOMAIN_EVENT_STOPPED)) not in events:
    libvirt.virEventRunDefaultImpl()
kinds = [event for _, event in events]
for wanted in (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_STARTED,
               libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_RESUMED):
    assert wanted in kinds, (wanted, kinds)
dom.undefine()
net.destroy()
net.undefine()
assert conn.listAllNetworks() == [] and conn.listAllDomains() == []
read_only = libvirt.openReadOnly(uri.replace('libvirt-sock', 'libvirt-sock-ro'))
refused(libvirt.VIR_ERR_OPERATION_DENIED, read_only.networkDefineXML, hw)
print('lived')
"#;

/// Whether a language is there, and its binding.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn has_binding(language: &str, arguments: &[&str]) -> bool {
    let found = installed(language)
        && Command::new(language).args(arguments).output().is_ok_and(|ran| ran.status.success());
    if !found {
        println!("skipped: {language} has no binding of libvirt");
    }
    found
}

pub(crate) fn installed_for_python() -> bool {
    has_binding(PYTHON, &["-c", "import libvirt"])
}

/// Runs a program, which prints `last` at its end.
fn ends_with(last: &str, language: &str, arguments: &[&str]) {
    let run = Command::new("timeout").args(["60", language]).args(arguments).output();
    let ran: Ran = run.expect("it runs").into();
    assert_eq!(ran.stdout.trim(), last, "{:?}: {}", ran.status, ran.stderr);
}

#[test]
fn the_python_binding_leads_a_guest_through_its_life() {
    if installed_for_python() {
        let daemon = Daemon::start();
        let web1 = guest("web1", "52:54:00:00:00:01");
        ends_with("lived", PYTHON, &["-c", LIFE, &daemon.uri(), HW, &web1]);
    }
}

#[test]
fn the_python_binding_sees_networks_ports_node_devices_and_their_events() {
    if installed_for_python() {
        let daemon = Daemon::start();
        let script = include_str!("bindings/networks.py");
        ends_with("done", PYTHON, &["-c", script, &daemon.uri(), HW, PORT]);
    }
}

#[test]
fn the_perl_binding_sees_guests_networks_ports_node_devices_and_their_events() {
    if has_binding(PERL, &["-MSys::Virt", "-e", "1"]) {
        let daemon = Daemon::start();
        let script = daemon.file("networks.pl", include_str!("bindings/networks.pl"));
        let web1 = guest("web1", "52:54:00:00:00:01");
        ends_with("done", PERL, &[&script, &daemon.uri(), HW, PORT, &web1]);
    }
}
