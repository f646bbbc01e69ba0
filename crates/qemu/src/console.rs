//! A guest's console: raw bytes both ways, over a pty that QEMU made or a unix socket.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::OFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::process_id::ProcessId;
use crate::{readiness, socket};

/// Why a console cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// QEMU named something else than a pty of the guest's own.
    #[error("{path} is not a pty of the guest")]
    NotAPty {
        /// What was named.
        path: PathBuf,
    },
    /// It could not be opened or connected to.
    #[error("cannot open the console {path}")]
    Open {
        /// The pty or socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An open console. It is read and written as a stream; a pty ends when QEMU does.
#[derive(Debug)]
pub enum Console {
    /// QEMU's pty, which is in raw mode (`chardev/char-pty.c`).
    Pty(AsyncFd<OwnedFd>),
    /// A unix socket on which QEMU listens.
    Unix(UnixStream),
}

impl Console {
    /// Opens the pty that QEMU named. QEMU is not trusted: the path must be one of
    /// `/dev/pts`, and the terminal must belong to `owner`, the uid that the guest runs as.
    pub fn open_pty(path: &Path, owner: u32) -> Result<Self, ConsoleError> {
        let not_a_pty = || ConsoleError::NotAPty { path: path.to_owned() };
        let failed = |source| ConsoleError::Open { path: path.to_owned(), source };
        if !is_pty_name(path) {
            return Err(not_a_pty());
        }
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.file_type().is_char_device()
            || found.uid() != owner
            || !rustix::termios::isatty(&file)
        {
            return Err(not_a_pty());
        }
        readiness::watch(file, Interest::READABLE | Interest::WRITABLE)
            .map(Self::Pty)
            .map_err(failed)
    }

    /// Connects to a socket on which this process, which is QEMU's, listens. A path that leads to
    /// anybody else's is refused.
    pub async fn connect(path: &Path, qemu: &ProcessId) -> Result<Self, ConsoleError> {
        let stream = socket::connect(path, qemu.pid).await;
        stream
            .map(Self::Unix)
            .map_err(|source| ConsoleError::Open { path: path.to_owned(), source })
    }
}

/// Whether a path is that of a pty: `/dev/pts/N`.
pub fn is_pty_name(path: &Path) -> bool {
    let number = path.strip_prefix("/dev/pts").ok().and_then(Path::to_str);
    number.is_some_and(|n| (1..=10).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

impl AsyncRead for Console {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pty = match &mut *self {
            Self::Unix(stream) => return Pin::new(stream).poll_read(context, buffer),
            Self::Pty(pty) => pty,
        };
        loop {
            let mut guard = ready!(pty.poll_read_ready(context))?;
            let free = buffer.initialize_unfilled();
            match guard.try_io(|pty| Ok(rustix::io::read(pty.get_ref(), &mut *free)?)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The other side has closed: the end (drivers/tty/tty_io.c, tty_hung_up_p).
                Ok(Err(error)) if error.raw_os_error() == Some(EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

impl AsyncWrite for Console {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pty = match &mut *self {
            Self::Unix(stream) => return Pin::new(stream).poll_write(context, bytes),
            Self::Pty(pty) => pty,
        };
        loop {
            let mut guard = ready!(pty.poll_write_ready(context))?;
            match guard.try_io(|pty| Ok(rustix::io::write(pty.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Pty(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Pty(_) => Poll::Ready(Ok(())),
        }
    }
}
