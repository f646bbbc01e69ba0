//! A connection to the daemon: one question at a time, each answered before the next.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use uuid::Uuid;
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::client::{Received, call};
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::CONNECT_RO;
use vfnet_rpc::frame::{Frame, FrameDecoder};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::{Domain, Network};
use vfnet_rpc::procedures::{Access, Procedure};
use vfnet_rpc::remote::{
    AuthList, ConnectOpen, ConnectOpenArgs, DomainLookupByName, DomainLookupByUuid,
    NetworkLookupByName, NetworkLookupByUuid,
};
use vfnet_rpc::vfnet::{Json, Plan, PlanArgs};
use vfnet_rpc::xdr::{Opaque, Text, Xdr as _};

use crate::fault::{CallFault, Fault};

/// Bytes read at once.
pub(crate) const PORTION: usize = 64 * 1024;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: UnixStream,
    decoder: FrameDecoder,
    serial: u32,
    only_plans: bool,
}

impl Connection {
    /// Connects to the daemon. Where `path` is not permitted and `need` is only to read, the
    /// read-only socket beside it is taken.
    pub(crate) fn open(path: &Path, need: Access) -> Result<Self, Fault> {
        let unreachable = |source| Fault::Unreachable { socket: path.to_owned(), source };
        let (socket, flags) = match UnixStream::connect(path) {
            Ok(socket) => (socket, 0),
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && need == Access::Read =>
            {
                let socket =
                    UnixStream::connect(read_only(path)).map_err(|_| unreachable(error))?;
                (socket, CONNECT_RO)
            }
            Err(error) => return Err(unreachable(error)),
        };
        let mut connection =
            Self { socket, decoder: FrameDecoder::new(), serial: 0, only_plans: false };
        connection.greet(flags).map_err(Fault::call("open the connection to the daemon"))?;
        Ok(connection)
    }

    /// From now on no call that may change anything is made: the daemon is asked what it would
    /// come to, and the answer, or the refusal that the call would meet, is the call's fault.
    pub(crate) const fn only_plan(&mut self) {
        self.only_plans = true;
    }

    fn plan<P: Procedure>(&mut self, args: &P::Args) -> Result<CallFault, CallFault> {
        let payload = Opaque::new(args.to_bytes()).map_err(CallFault::Unplannable)?;
        let args = PlanArgs { program: P::PROGRAM, procedure: P::FACTS.number, payload };
        let (_, json) = self.exchange::<Plan>(&args)?;
        Ok(CallFault::Planned(serde_json::from_str(&json).map_err(CallFault::Plan)?))
    }

    fn greet(&mut self, flags: u32) -> Result<(), CallFault> {
        self.ask::<AuthList>(&())?;
        let name = Some(Text::clipped("qemu:///system"));
        self.ask::<ConnectOpen>(&ConnectOpenArgs { name, flags })
    }

    /// Calls procedure `P` and waits for its result.
    pub(crate) fn ask<P: Procedure>(&mut self, args: &P::Args) -> Result<P::Reply, CallFault> {
        self.ask_with_id::<P>(args).map(|(_, reply)| reply)
    }

    /// As [`ask`](Self::ask), with the id of the stream that the call has opened.
    pub(crate) fn ask_with_id<P: Procedure>(
        &mut self,
        args: &P::Args,
    ) -> Result<(CallId, P::Reply), CallFault> {
        if self.only_plans && P::FACTS.access == Access::Write {
            return Err(self.plan::<P>(args)?);
        }
        self.exchange::<P>(args)
    }

    fn exchange<P: Procedure>(&mut self, args: &P::Args) -> Result<(CallId, P::Reply), CallFault> {
        self.serial += 1;
        self.send(&call::<P>(self.serial, args))?;
        loop {
            match self.receive()? {
                Received::Reply(id, reply) if id.serial == self.serial => {
                    return Ok((id, reply.of::<P>()?));
                }
                Received::Keepalive(Keepalive::Ping) => self.send(&Keepalive::Pong.frame())?,
                _ => {}
            }
        }
    }

    /// Calls procedure `P` of vfnet's own program and reads the report in its result. `doing`
    /// follows "cannot" if that fails.
    pub(crate) fn report<P, T>(&mut self, args: &P::Args, doing: &str) -> Result<T, Fault>
    where
        P: Procedure<Reply = Json>,
        T: DeserializeOwned,
    {
        let json = self.ask::<P>(args).map_err(Fault::call(doing))?;
        serde_json::from_str(&json).map_err(|source| Fault::Report { source })
    }

    /// The network that `name` names, or is the UUID of.
    pub(crate) fn network(&mut self, name: &str) -> Result<Network, Fault> {
        if let Ok(uuid) = name.parse::<Uuid>() {
            match self.ask::<NetworkLookupByUuid>(&uuid) {
                Err(fault) if fault.code() == Some(ErrorCode::NoNetwork) => {}
                answer => return answer.map_err(Fault::call(format!("find network '{name}'"))),
            }
        }
        let doing = Fault::call(format!("find network '{name}'"));
        self.ask::<NetworkLookupByName>(&text("a network's name", name)?).map_err(doing)
    }

    /// The guest that `name` names, or is the UUID of.
    pub(crate) fn guest(&mut self, name: &str) -> Result<Domain, Fault> {
        if let Ok(uuid) = name.parse::<Uuid>() {
            match self.ask::<DomainLookupByUuid>(&uuid) {
                Err(fault) if fault.code() == Some(ErrorCode::NoDomain) => {}
                answer => return answer.map_err(Fault::call(format!("find guest '{name}'"))),
            }
        }
        let doing = Fault::call(format!("find guest '{name}'"));
        self.ask::<DomainLookupByName>(&text("a guest's name", name)?).map_err(doing)
    }

    /// The socket, and what has been read from it already.
    pub(crate) fn into_parts(self) -> (UnixStream, FrameDecoder) {
        (self.socket, self.decoder)
    }

    fn send(&mut self, frame: &Frame) -> Result<(), CallFault> {
        let bytes = frame.encode().map_err(CallFault::TooLong)?;
        self.socket.write_all(&bytes).map_err(CallFault::Lost)
    }

    fn receive(&mut self) -> Result<Received, CallFault> {
        let mut portion = vec![0; PORTION];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(CallFault::Broken)? {
                return Ok(frame.into());
            }
            match self.socket.read(&mut portion) {
                Ok(0) => return Err(CallFault::HungUp),
                Ok(count) => self.decoder.feed(&portion[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CallFault::Lost(error)),
            }
        }
    }
}

/// `libvirt-sock-ro` beside `libvirt-sock`.
fn read_only(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push("-ro");
    path.into()
}

/// A string as it travels; `what` says whose it is if it cannot.
pub(crate) fn text(what: &'static str, string: impl Into<String>) -> Result<Text, Fault> {
    Text::new(string).map_err(|source| Fault::Unsendable { what, source })
}

/// A document from a file, or from stdin for `-`.
pub(crate) fn document(path: &Path) -> Result<Text, Fault> {
    let fault = |source| Fault::Document { path: path.to_owned(), source };
    // One byte more than can be sent is enough to see that it cannot.
    let limit = u64::try_from(vfnet_rpc::xdr::STRING_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut string = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut string).map_err(fault)?;
    } else {
        let file = std::fs::File::open(path).map_err(fault)?;
        file.take(limit).read_to_string(&mut string).map_err(fault)?;
    }
    text("the document", string)
}
