//! A stock network daemon with one network, `default`, that fails as a test wants it to.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::frame::{Frame, FrameDecoder};
use vfnet_rpc::objects::{Listed, Network};
use vfnet_rpc::procedures::Payload;
use vfnet_rpc::remote::{AuthType, Call};
use vfnet_rpc::server::Incoming;
use vfnet_rpc::xdr::{List, Text};

/// How it is with the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// It answers.
    Well,
    /// It answers nothing at all.
    Mute,
    /// It takes calls about networks, and answers none.
    Hanging,
    /// It hangs up at every call about networks.
    Dying,
    /// It answers calls about networks with what is no frame.
    Babbling,
    /// Its answers to calls about networks are not what was asked for.
    Confused,
    /// It wants everybody to authenticate.
    Locked,
    /// It serves guests.
    OtherKind,
}

/// The daemon, for as long as the test runs.
pub(super) struct Fake {
    socket: PathBuf,
    mood: Arc<Mutex<Mood>>,
}

/// The network.
pub(super) fn default() -> Network {
    Network { name: Text::clipped("default"), uuid: Uuid::from_u128(0xdefa) }
}

impl Fake {
    pub(super) fn start(socket: &Path, mood: Mood) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let mood = Arc::new(Mutex::new(mood));
        let of_daemon = Arc::clone(&mood);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mood = Arc::clone(&of_daemon);
                std::thread::spawn(move || serve(client, &mood));
            }
        });
        Self { socket: socket.to_owned(), mood }
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

fn serve(mut client: UnixStream, mood: &Mutex<Mood>) {
    let mut decoder = FrameDecoder::new();
    let mut portion = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut portion) {
        decoder.feed(&portion[..count]);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let mood = *mood.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(bytes) = answer(frame, mood) else { return };
            if client.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

/// What is sent of a call, nothing included; `None` to hang up.
fn answer(frame: Frame, mood: Mood) -> Option<Vec<u8>> {
    let Incoming::Remote(id, call) = Incoming::from(frame) else { return None };
    let text = |text: &str| Text::clipped(text);
    let answered: Result<Payload, WireError> = match call {
        _ if mood == Mood::Mute => return Some(Vec::new()),
        Call::AuthList((), a) => {
            let kind = if mood == Mood::Locked { AuthType::Sasl } else { AuthType::None };
            Ok(a.with(&List::new(vec![kind.number()]).expect("one")))
        }
        Call::ConnectOpen(_, a) => Ok(a.done()),
        Call::ConnectGetType((), a) => {
            Ok(a.with(&text(if mood == Mood::OtherKind { "QEMU" } else { "network" })))
        }
        _ if mood == Mood::Hanging => return Some(Vec::new()),
        _ if mood == Mood::Dying => return None,
        _ if mood == Mood::Babbling => return Some(vec![0xff; 64]),
        Call::ConnectNetworkEventRegisterAny(_, a) => Ok(a.with(&1)),
        // As if it were the answer to something else.
        Call::ConnectListAllNetworks(_, _)
        | Call::NetworkLookupByName(_, _)
        | Call::NetworkGetXmlDesc(_, _)
        | Call::NetworkIsActive(_, _)
            if mood == Mood::Confused =>
        {
            return Some(
                id.data(&[0xff; 8])
                    .filter_map(|mut frame| {
                        frame.header.kind = vfnet_rpc::frame::FrameKind::Reply;
                        frame.header.status = vfnet_rpc::frame::Status::Ok;
                        frame.encode().ok()
                    })
                    .flatten()
                    .collect(),
            );
        }
        Call::ConnectListAllNetworks(args, a) => {
            Ok(a.with(&Listed::answer(&args, List::new(vec![default()]).expect("one"))))
        }
        Call::NetworkLookupByName(name, a) if *name == *default().name => Ok(a.with(&default())),
        Call::NetworkGetXmlDesc(_, a) => {
            Ok(a.with(&text("<network><name>default</name><forward mode='nat'/></network>")))
        }
        Call::NetworkIsActive(_, a) => Ok(a.with(&1)),
        _ => Err(WireError::new(ErrorDomain::Network, ErrorCode::NoNetwork, "not here")),
    };
    Some(id.answer(answered))
}
