//! A client that says exactly what a test wants said.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use vfnet_model::report::{InventoryReport, VfReport};
use vfnet_rpc::client::{Received, ReplyError, call};
use vfnet_rpc::frame::FrameDecoder;
use vfnet_rpc::procedures::Procedure;
use vfnet_rpc::remote::{AuthList, ConnectOpen, ConnectOpenArgs};
use vfnet_rpc::vfnet::Inventory;
use vfnet_rpc::xdr::Text;

use crate::LIMIT;
use crate::daemon::Daemon;

pub(crate) struct Client {
    pub(crate) socket: UnixStream,
    decoder: FrameDecoder,
    serial: u32,
}

impl Client {
    /// Connected, and not greeted.
    pub(crate) fn connect(socket: &Path) -> Self {
        let socket = UnixStream::connect(socket).expect("the daemon listens");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        Self { socket, decoder: FrameDecoder::new(), serial: 0 }
    }

    /// Whether a daemon answers there. One that listens need not: what a daemon was about to start
    /// when it was killed has its sockets for a moment.
    pub(crate) fn is_answered(socket: &Path) -> bool {
        let Ok(socket) = UnixStream::connect(socket) else { return false };
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut client = Self { socket, decoder: FrameDecoder::new(), serial: 0 };
        let greeting = call::<AuthList>(client.serial, &()).encode().expect("a frame");
        client.socket.write_all(&greeting).is_ok() && client.receive().is_some()
    }

    /// Connected and open.
    pub(crate) fn open(socket: &Path) -> Self {
        let mut client = Self::connect(socket);
        client.ask::<AuthList>(&()).expect("no authentication");
        let name = Some(Text::clipped("qemu:///system"));
        client.ask::<ConnectOpen>(&ConnectOpenArgs { name, flags: 0 }).expect("opened");
        client
    }

    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self::open(&daemon.socket())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the daemon reads");
    }

    /// The next frame; `None` when the daemon has hung up.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("a sound frame") {
                return Some(frame.into());
            }
            let mut portion = [0; 4096];
            match self.socket.read(&mut portion) {
                Ok(count @ 1..) => self.decoder.feed(&portion[..count]),
                Ok(0) => return None,
                Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the daemon neither answers nor hangs up")
                }
                Err(_) => return None,
            }
        }
    }

    /// Sends a call and does not wait; its serial.
    pub(crate) fn tell<P: Procedure>(&mut self, args: &P::Args) -> u32 {
        self.serial += 1;
        let frame = call::<P>(self.serial, args);
        self.send(&frame.encode().expect("a frame"));
        self.serial
    }

    /// Whether a call is answered by a daemon that may be killed at any moment of it.
    pub(crate) fn is_told<P: Procedure>(&mut self, args: &P::Args) -> bool {
        self.serial += 1;
        let frame = call::<P>(self.serial, args).encode().expect("a frame");
        self.socket.write_all(&frame).is_ok() && self.receive().is_some()
    }

    pub(crate) fn ask<P: Procedure>(&mut self, args: &P::Args) -> Result<P::Reply, ReplyError> {
        self.tell::<P>(args);
        match self.receive() {
            Some(Received::Reply(id, reply)) if id.serial == self.serial => reply.of::<P>(),
            other => panic!("{other:?} instead of the reply"),
        }
    }

    /// libvirt's number of the error that a call is refused with.
    pub(crate) fn number<P: Procedure>(&mut self, args: &P::Args) -> Result<i32, String>
    where
        P::Reply: std::fmt::Debug,
    {
        match self.ask::<P>(args) {
            Err(ReplyError::Server(error)) => Ok(error.code),
            other => Err(format!("{other:?}")),
        }
    }

    /// The VFs as `vfnet vf ls` shows them.
    pub(crate) fn vfs(&mut self) -> Vec<VfReport> {
        let json = self.ask::<Inventory>(&()).expect("an inventory");
        serde_json::from_str::<InventoryReport>(&json).expect("a report").vfs
    }
}
