//! Announcements of the kernel: uevents of devices, and rtnetlink's of links and addresses.
//!
//! They say *that* something changed and where to look; the state is read afresh. What is in
//! them is not trusted, and a lost one asks for looking at everything.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with,
};
use vfnet_model::PciAddress;

/// `NETLINK_ROUTE` is number 0, which rustix writes so.
const ROUTE: Option<Protocol> = None;
/// The kernel's own uevents; group 2 has udev's, after its rules.
const KERNEL: u32 = 1;
/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const LINKS_AND_ADDRESSES: u32 = 0x111;

/// How many announcements of one socket are taken in one go. The rest waits in the socket's buffer,
/// which the kernel bounds: what does not fit there is lost, and says so with `ENOBUFS`.
const AT_ONCE: usize = 16 * 1024;
/// How many changes are told apart; where there are more, anything may have changed.
const DISTINCT: usize = 1024;

/// Something changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Changed {
    /// A PCI device: added, removed, bound, unbound.
    Device(PciAddress),
    /// Some link or address.
    Network,
    /// Announcements were lost: anything may have changed.
    Anything,
}

/// The sockets that announcements come in by. Both are non-blocking.
#[derive(Debug)]
pub struct Announcements {
    devices: OwnedFd,
    network: OwnedFd,
}

impl Announcements {
    /// Listens from now on.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            devices: listen(Some(netlink::KOBJECT_UEVENT), KERNEL)?,
            network: listen(ROUTE, LINKS_AND_ADDRESSES)?,
        })
    }

    /// The sockets, to be polled for reading.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.devices.as_fd(), self.network.as_fd()]
    }

    /// Waits until there is something to read or the limit has passed.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(limit).map_err(io::Error::other)?;
        let [devices, network] = [&self.devices, &self.network];
        let mut fds = [devices, network].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is there, without waiting and without end; sorted, each change once. What storms
    /// leave behind is there for the next call.
    pub fn take(&self) -> io::Result<Vec<Changed>> {
        let mut changes = BTreeSet::new();
        take(
            |buffer| receive(&self.devices, buffer),
            &mut changes,
            |event| pci_device(event).map(Changed::Device),
        )?;
        let network = |_: &[u8]| Some(Changed::Network);
        take(|buffer| receive(&self.network, buffer), &mut changes, network)?;
        Ok(changes.into_iter().collect())
    }
}

fn listen(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// One announcement: how long it is, or nothing where it is not from the kernel.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
    let (len, _, sender) = recvfrom(socket, buffer, RecvFlags::empty())?;
    let kernels = sender
        .and_then(|sender| SocketAddrNetlink::try_from(sender).ok())
        .is_some_and(|sender| sender.pid() == 0);
    Ok(kernels.then_some(len))
}

fn take(
    mut receive: impl FnMut(&mut [u8]) -> Result<Option<usize>, Errno>,
    changes: &mut BTreeSet<Changed>,
    read: impl Fn(&[u8]) -> Option<Changed>,
) -> io::Result<()> {
    // The kernel's uevents have 2 KiB at most (UEVENT_BUFFER_SIZE); of rtnetlink's only the
    // arrival counts.
    let mut buffer = [0; 4096];
    for _ in 0..AT_ONCE {
        let change = match receive(&mut buffer) {
            Ok(Some(len)) => read(buffer.get(..len).unwrap_or_default()),
            Err(Errno::AGAIN) => return Ok(()),
            Ok(None) | Err(Errno::INTR) => None,
            Err(Errno::NOBUFS) => Some(Changed::Anything),
            Err(error) => return Err(error.into()),
        };
        let Some(change) = change else { continue };
        changes.insert(if changes.len() < DISTINCT { change } else { Changed::Anything });
    }
    Ok(())
}

/// The PCI device that an event is about: of `SUBSYSTEM=pci` itself, of others (net, vfio-dev)
/// the last in the device's path.
pub fn pci_device(event: &[u8]) -> Option<PciAddress> {
    let path = event
        .split(|byte| *byte == 0)
        .find_map(|line| line.strip_prefix(b"DEVPATH="))
        .and_then(|path| std::str::from_utf8(path).ok())?;
    // A bridge's name looks alike and comes first.
    path.rsplit('/').filter(|part| part.len() == 12).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_pci_device() {
        let event = |path: &str| format!("add@{path}\0ACTION=add\0DEVPATH={path}\0SEQNUM=7\0");
        let vf = "/devices/pci0000:00/0000:00:02.0/0000:01:10.1";
        for path in [vf.to_owned(), format!("{vf}/net/ens1v0"), format!("{vf}/vfio-dev/vfio0")] {
            assert_eq!(pci_device(event(&path).as_bytes()), "0000:01:10.1".parse().ok(), "{path}");
        }
        assert_eq!(pci_device(event("/devices/virtual/net/lo").as_bytes()), None);
    }

    #[test]
    fn a_hostile_event_is_no_event() {
        for event in [
            &b""[..],
            b"\0\0\0",
            b"DEVPATH=",
            b"DEVPATH=\xff\xfe/0000:01:10.1",
            b"libudev\0\xfe\xed\xca\xfe",
            &[0xff; 4096],
        ] {
            assert_eq!(pci_device(event), None, "{event:?}");
        }
    }

    /// A source that has `count` events, about one VF after the other of `vfs`.
    fn storm(count: usize, vfs: usize) -> impl FnMut(&mut [u8]) -> Result<Option<usize>, Errno> {
        let mut sent = 0;
        move |buffer| {
            if sent == count {
                return Err(Errno::AGAIN);
            }
            let vf = sent % vfs;
            sent += 1;
            let (bus, slot, function) = (vf / 256, vf / 8 % 32, vf % 8);
            let event = format!("DEVPATH=/devices/0000:{bus:02x}:{slot:02x}.{function}\0");
            buffer[..event.len()].copy_from_slice(event.as_bytes());
            Ok(Some(event.len()))
        }
    }

    fn device(event: &[u8]) -> Option<Changed> {
        pci_device(event).map(Changed::Device)
    }

    #[test]
    fn a_storm_about_a_few_devices_is_a_few_changes() {
        let mut changes = BTreeSet::new();
        take(storm(10_000, 7), &mut changes, device).unwrap();
        assert_eq!(changes.len(), 7);
        assert!(!changes.contains(&Changed::Anything));
    }

    #[test]
    fn a_storm_about_more_devices_than_are_told_apart_asks_for_looking_at_everything() {
        let mut changes = BTreeSet::new();
        take(storm(10_000, 10_000), &mut changes, device).unwrap();
        assert_eq!(changes.len(), DISTINCT + 1);
        assert!(changes.contains(&Changed::Anything));
    }

    #[test]
    fn a_storm_without_end_is_left_for_the_next_time() {
        let (mut taken, mut changes) = (0, BTreeSet::new());
        let mut source = storm(usize::MAX, 7);
        take(
            |buffer| {
                taken += 1;
                source(buffer)
            },
            &mut changes,
            device,
        )
        .unwrap();
        assert_eq!((taken, changes.len()), (AT_ONCE, 7));
    }

    #[test]
    fn what_the_kernel_had_no_room_for_asks_for_looking_at_everything() {
        use rustix::net::{SendFlags, sendto, sockopt};
        // A group of uevents' sockets that nobody uses.
        const NOBODYS: u32 = 1 << 30;
        let socket = listen(Some(netlink::KOBJECT_UEVENT), NOBODYS).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let sender = listen(Some(netlink::KOBJECT_UEVENT), 0).unwrap();
        let group = SocketAddrNetlink::new(0, NOBODYS);
        for _ in 0..10_000 {
            // Sent by nobody to nobody else, and refused by the kernel's own end.
            if sendto(&sender, &[0; 512], SendFlags::empty(), &group) == Err(Errno::PERM) {
                return println!("skipped: takes CAP_NET_ADMIN");
            }
        }
        let mut changes = BTreeSet::new();
        take(|buffer| receive(&socket, buffer), &mut changes, device).unwrap();
        assert_eq!(changes, BTreeSet::from([Changed::Anything]));
    }

    #[test]
    fn nothing_is_waited_for_longer_than_asked() {
        let Ok(announcements) = Announcements::listen() else {
            println!("skipped: no netlink here");
            return;
        };
        announcements.wait(Duration::from_millis(1)).unwrap();
        announcements.take().unwrap();
        assert_eq!(announcements.take().unwrap(), []);
    }
}
