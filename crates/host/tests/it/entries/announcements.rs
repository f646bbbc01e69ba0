//! What has to hold of whatever the kernel sends: replies of rtnetlink, and uevents.

use vfnet_host::netlink::Link;
use vfnet_host::netlink::reply::{address, counters, read, route};
use vfnet_host::uevent::pci_device;
use vfnet_model::vf::VfIndex;

/// A number of a link (a byte), then a datagram.
pub(crate) fn announcements(bytes: &[u8]) {
    let Some((index, datagram)) = bytes.split_first() else { return };
    let index = u32::from(*index);
    let mut messages = Vec::new();
    // Refused or not, what came before is kept.
    drop(read(datagram, &mut messages));
    let read: usize = messages.iter().map(|message| message.payload.len()).sum();
    assert!(read <= datagram.len(), "more than was sent");
    let payloads = messages.iter().map(|message| message.payload.as_slice());
    for payload in payloads.chain([datagram]) {
        if let Some(link) = Link::parse(payload) {
            // A row has 4 bytes at least, whatever number of VFs is claimed.
            assert!(link.vfs.len() * 4 <= payload.len(), "rows that were not sent");
        }
        drop((address(payload, index), route(payload, index)));
        let _counted = counters(payload, VfIndex(u16::try_from(index).unwrap_or(0)));
    }
    let _device = pci_device(datagram);
}
