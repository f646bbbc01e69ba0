//! libvirt's Python binding.

use std::process::Command;

use crate::daemon::{Daemon, HW, Ran, guest};
use crate::installed;

pub(crate) const PYTHON: &str = "/usr/bin/python3";

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

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn installed_for_python() -> bool {
    let found = Command::new(PYTHON).args(["-c", "import libvirt"]).output();
    let found = found.is_ok_and(|ran| ran.status.success());
    if !found {
        println!("skipped: python3-libvirt is not installed");
    }
    found
}

#[test]
fn the_python_binding_leads_a_guest_through_its_life() {
    if !installed(PYTHON) || !installed_for_python() {
        return;
    }
    let daemon = Daemon::start();
    let ran: Ran = Command::new("timeout")
        .args(["60", PYTHON, "-c", LIFE])
        .args([&daemon.uri(), HW, &guest("web1", "52:54:00:00:00:01")])
        .output()
        .expect("python runs")
        .into();
    assert_eq!(ran.stdout.trim(), "lived", "{}", ran.stderr);
}
