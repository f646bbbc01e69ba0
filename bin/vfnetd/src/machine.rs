//! The daemon on this machine: what it runs over, and the parts that its program plays besides.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use vfnet_host::linux::LinuxHost;
use vfnet_host::uevent::Announcements;
use vfnet_qemu::Launcher;

use crate::steps::Steps;
use crate::{Setting, Watch};

/// One wait for announcements; it is begun again at once.
const LONG: Duration = Duration::from_secs(3600);

/// How long announcements may go on after the first until the host is looked at: on a host whose
/// links come and go all the time, it would else be looked at all the time.
const MOMENT: Duration = Duration::from_millis(100);

/// Wait after announcements could not be read, before they are listened for anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Plays the part that the first argument names, if it names one: the launcher of a guest, or a
/// write to the kernel. To be called before there are threads or options.
pub fn part() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        "launch" => Some(vfnet_qemu::launch::launch_main(args)),
        vfnet_qemu::pinning::WORD => Some(vfnet_qemu::pinning::pin_main(args)),
        "kernel-write" => Some(vfnet_host::writer::kernel_write_main(args)),
        _ => None,
    }
}

/// The machine that this program runs on.
pub fn this_machine() -> Setting {
    // As the launcher: the running program itself, even if its file has been replaced.
    let host = LinuxHost::this_machine("/proc/self/exe".into(), vec!["kernel-write".into()]);
    let host = Arc::new(host);
    Setting {
        devices: Arc::<LinuxHost>::clone(&host),
        host,
        watch: watch(),
        vfio: Some(Path::new("/dev/vfio").to_owned()),
        launcher: Launcher::this_program(),
        stand_in: None,
        steps: Steps::default(),
    }
}

/// Where changes of a machine are announced.
pub trait Announced: Send + 'static {
    /// Waits until something is, for a while.
    fn wait(&mut self) -> io::Result<()>;

    /// Takes what there is, without waiting; whether anything may have changed.
    fn take(&mut self) -> io::Result<bool>;

    /// After a failure: listens anew.
    fn listen_anew(&mut self);
}

impl Announced for Announcements {
    fn wait(&mut self) -> io::Result<()> {
        Self::wait(self, LONG)
    }

    fn take(&mut self) -> io::Result<bool> {
        Self::take(self).map(|changes| !changes.is_empty())
    }

    fn listen_anew(&mut self) {
        if let Ok(anew) = Self::listen() {
            *self = anew;
        }
    }
}

fn watch() -> Option<Watch> {
    match Announcements::listen() {
        Ok(announcements) => Some(in_moments(announcements)),
        Err(fault) => {
            tracing::error!("changes of the host will be seen late: {fault}");
            None
        }
    }
}

/// Waits for announcements, and takes those of one moment together.
pub fn in_moments(mut announced: impl Announced) -> Watch {
    Box::new(move || {
        loop {
            let taken = announced.wait().and_then(|()| {
                std::thread::sleep(MOMENT);
                announced.take()
            });
            match taken {
                Ok(false) => {}
                Ok(true) => return true,
                Err(fault) => {
                    tracing::error!("cannot follow the kernel's announcements: {fault}");
                    std::thread::sleep(AGAIN);
                    announced.listen_anew();
                    // What nobody has told meanwhile is there to be seen.
                    return true;
                }
            }
        }
    })
}
