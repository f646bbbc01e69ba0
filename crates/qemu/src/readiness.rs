//! Waiting for a descriptor on the runtime.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime that this is called on.
pub(crate) fn watch(fd: impl Into<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "unsound only for types whose descriptor can change or close; an OwnedFd's \
                  cannot, and the replacement is unsafe to call"
    )]
    AsyncFd::with_interest(fd.into(), interest)
}
