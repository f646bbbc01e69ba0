//! The service as it is packaged: systemd starts the daemon, in its sandbox, and starts it anew.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::host::Host;
use crate::program;

/// `systemctl restart`, `kill -9` of the daemon and `systemctl stop` leave a guest its process;
/// destroyed, it gives its VF back as it was. The script judges that by the kernel's account: the
/// VFs are made in the sandbox, so nothing about them can be noted before it begins.
pub(super) fn the_service(host: &Host) -> Result<()> {
    host.pf(0)?.raise()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/try-units.sh");
    let own = std::env::current_exe()?;
    let programs = own.parent().context("a program without a folder")?;
    // All that it says is said where a failure shows it.
    let command = "PROGRAMS=$1 exec bash \"$0\" >&2";
    let (script, programs) = (script.to_string_lossy(), programs.to_string_lossy());
    program::run("bash", &["-c", command, &script, &programs])?;
    Ok(())
}
