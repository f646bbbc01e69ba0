//! A guest's console on this terminal.
//!
//! The terminal is raw while the console is open: every key goes to the guest, `^]` leaves. It
//! is put right when [`Raw`] is dropped, which a signal that ends the console leads to as well.
//! Neither side waits for the other: what the guest does not read yet is kept back here, and
//! stdin with it, while its output is still shown.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::client::Received;
use vfnet_rpc::flags::CONSOLE_FORCE;
use vfnet_rpc::frame::{Frame, FrameDecoder};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{DomainOpenConsole, OpenConsoleArgs};
use vfnet_rpc::stream::StreamPart;

use crate::connection::{Connection, PORTION};
use crate::fault::{CallFault, Fault};

/// `^]`, as telnet and virsh have it.
const ESCAPE: u8 = 0x1d;
/// Stdin is not read while so many bytes wait for the guest.
const UNSENT_MAX: usize = 64 * 1024;

/// Copies between this terminal and a guest's console until one of them ends it.
pub(crate) fn attach(mut daemon: Connection, guest: Domain, force: bool) -> Result<(), Fault> {
    let name = guest.name.to_string();
    let cannot = || Fault::call(format!("use the console of guest '{name}'"));
    let flags = if force { CONSOLE_FORCE } else { 0 };
    let args = OpenConsoleArgs { domain: guest, device: None, flags };
    let (id, ()) = daemon.ask_with_id::<DomainOpenConsole>(&args).map_err(cannot())?;
    let (socket, decoder) = daemon.into_parts();
    socket.set_nonblocking(true).map_err(|why| cannot()(CallFault::Lost(why)))?;

    let signals = Signals::watch().map_err(Fault::Terminal)?;
    let keyboard = io::stdin().is_terminal();
    let raw = if keyboard { Some(Raw::enter().map_err(Fault::Terminal)?) } else { None };
    if keyboard {
        let mut stderr = io::stderr().lock();
        let _unseen = write!(stderr, "Console of guest {name}; ^] leaves\r\n");
    }
    let link = Link { socket, decoder, id, unsent: Vec::new(), hears: true, ending: false };
    let outcome = link.copy(keyboard, &signals);
    drop(raw);
    if keyboard {
        let _unseen = io::stderr().lock().write_all(b"\n");
    }
    outcome.map_err(|end| match end {
        End::Call(why) => cannot()(why),
        End::Terminal(why) => Fault::Terminal(why),
        End::Output(why) => Fault::Output(why),
    })
}

/// The terminal in raw mode, for as long as this exists.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        // The kernel stops a background process that changes its terminal (SIGTTOU), and would
        // do so again when a signal lets it go on. A terminal that is not the controlling one
        // has no foreground to be in.
        if tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
            let why = "it belongs to another process in the foreground (timeout has --foreground)";
            return Err(io::Error::other(why));
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw")
    }
}

/// Becomes readable at a signal that would end the process.
#[derive(Debug)]
struct Signals(UnixStream);

impl Signals {
    fn watch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self(reader))
    }
}

/// Why the copying ended badly.
#[derive(Debug)]
enum End {
    Call(CallFault),
    Terminal(io::Error),
    Output(io::Error),
}

impl From<CallFault> for End {
    fn from(fault: CallFault) -> Self {
        Self::Call(fault)
    }
}

/// What the next thing to be done is.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

#[derive(Debug)]
struct Link {
    socket: UnixStream,
    decoder: FrameDecoder,
    id: CallId,
    unsent: Vec<u8>,
    /// Whether stdin may still have something.
    hears: bool,
    /// Whether the end of the stream is on its way to the daemon.
    ending: bool,
}

impl Link {
    fn copy(mut self, keyboard: bool, signals: &Signals) -> Result<(), End> {
        let stdin = io::stdin();
        loop {
            // What came along with the answer is here already.
            if self.take_frames()? == Next::Leave {
                return Ok(());
            }
            self.write()?;
            let mut socket_events = PollFlags::IN;
            if !self.unsent.is_empty() {
                socket_events |= PollFlags::OUT;
            }
            let listens = self.hears && self.unsent.len() < UNSENT_MAX;
            let mut fds = vec![
                PollFd::new(&self.socket, socket_events),
                PollFd::new(&signals.0, PollFlags::IN),
            ];
            if listens {
                fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(why) => return Err(End::Terminal(why.into())),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready.get(1) == Some(&true) {
                return Ok(());
            }
            if ready.get(2) == Some(&true) && self.listen(keyboard)? == Next::Leave {
                return Ok(());
            }
            if ready.first() == Some(&true) {
                self.read()?;
            }
        }
    }

    /// From stdin towards the guest.
    fn listen(&mut self, keyboard: bool) -> Result<Next, End> {
        let mut portion = [0; 4096];
        let bytes = match rustix::io::read(io::stdin(), &mut portion) {
            Ok(count) => &portion[..count],
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Next::GoOn),
            Err(why) => return Err(End::Terminal(why.into())),
        };
        if bytes.is_empty() {
            self.finish()?;
            return Ok(Next::GoOn);
        }
        let escape = bytes.iter().position(|&byte| keyboard && byte == ESCAPE);
        for frame in self.id.data(&bytes[..escape.unwrap_or(bytes.len())]) {
            self.queue(&frame)?;
        }
        if escape.is_none() {
            return Ok(Next::GoOn);
        }
        // The person has left: what the guest reads in time is sent, nothing is waited for.
        self.finish()?;
        self.write()?;
        Ok(Next::Leave)
    }

    fn finish(&mut self) -> Result<(), End> {
        self.hears = false;
        if !self.ending {
            self.ending = true;
            self.queue(&self.id.finish())?;
        }
        Ok(())
    }

    fn queue(&mut self, frame: &Frame) -> Result<(), End> {
        self.unsent.extend(frame.encode().map_err(CallFault::TooLong)?);
        Ok(())
    }

    fn write(&mut self) -> Result<(), End> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(why) => match why.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(CallFault::Lost(why).into()),
                },
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        let mut portion = vec![0; PORTION];
        match self.socket.read(&mut portion) {
            Ok(0) => Err(CallFault::HungUp.into()),
            Ok(count) => {
                self.decoder.feed(&portion[..count]);
                Ok(())
            }
            Err(why) => match why.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                _ => Err(CallFault::Lost(why).into()),
            },
        }
    }

    /// From the guest to stdout.
    fn take_frames(&mut self) -> Result<Next, End> {
        while let Some(frame) = self.decoder.next_frame().map_err(CallFault::Broken)? {
            match Received::from(frame) {
                Received::Stream(id, part) if id == self.id => match part {
                    StreamPart::Data(bytes) => show(&bytes)?,
                    StreamPart::NoMoreData => self.finish()?,
                    StreamPart::Finish | StreamPart::Abort(None) => return Ok(Next::Leave),
                    StreamPart::Abort(Some(why)) => return Err(CallFault::Closed(why).into()),
                    StreamPart::Hole(_) => {}
                },
                Received::Keepalive(Keepalive::Ping) => self.queue(&Keepalive::Pong.frame())?,
                _ => {}
            }
        }
        Ok(Next::GoOn)
    }
}

fn show(bytes: &[u8]) -> Result<(), End> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(End::Output)
}
