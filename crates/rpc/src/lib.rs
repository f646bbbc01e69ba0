//! The wire of libvirt: XDR, frames, procedures; no I/O of its own.
