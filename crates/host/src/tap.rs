//! Tap devices for guests' virtio NICs: persistent, owned by the guest's uid, in a bridge.
//!
//! Made with iproute2, because a tap needs an ioctl that cannot be made without `unsafe`.

use std::path::Path;
use std::process::Stdio;

use vfnet_model::NetdevName;

use crate::process::{Purpose, command};
use crate::{Counters, HostError};

/// The kernel's `IFNAMSIZ`, less the terminating zero.
const NAME_MAX: usize = 15;

/// Makes a tap and puts it in a bridge, up. A tap of that name and owner that is already there is
/// made anew, so that this can be repeated.
///
/// # Errors
///
/// [`HostError::Gone`] when the bridge is not there, [`HostError::Unexpected`] when a device of
/// that name is somebody else's, [`HostError::Process`] with the words of `ip`. The tap is not
/// left behind then.
pub fn create(name: &NetdevName, owner: u32, bridge: &NetdevName) -> Result<(), HostError> {
    check(name)?;
    if !is_bridge(Path::new("/sys/class/net"), bridge) {
        return Err(HostError::Gone { what: format!("the bridge {bridge}") });
    }
    remove(name, owner)?;
    if !Path::new("/dev/net/tun").exists() {
        system("modprobe", &["tun"])?;
    }
    let (name_, bridge) = (name.as_str(), bridge.as_str());
    ip(&["tuntap", "add", "dev", name_, "mode", "tap", "user", &owner.to_string()])?;
    let joined = ip(&["link", "set", "dev", name_, "master", bridge, "up"]);
    if joined.is_err()
        && let Err(error) = remove(name, owner)
    {
        tracing::warn!(%name, %error, "a tap is left behind");
    }
    joined
}

/// Removes a tap of this owner; nothing to do when it is not there.
///
/// # Errors
///
/// [`HostError::Unexpected`] when the device of that name is no tap, or another owner's: it is
/// somebody else's.
pub fn remove(name: &NetdevName, owner: u32) -> Result<(), HostError> {
    check(name)?;
    let dir = Path::new("/sys/class/net").join(name.as_str());
    if !dir.exists() {
        return Ok(());
    }
    if !dir.join("tun_flags").exists() {
        return Err(HostError::Unexpected {
            path: dir.display().to_string(),
            found: "no tun_flags".to_owned(),
            expected: "a tap",
        });
    }
    refuse_strangers(Path::new("/sys/class/net"), name, &owner.to_string())?;
    ip(&["tuntap", "del", "dev", name.as_str(), "mode", "tap"])
}

/// What a tap has received from its guest and sent to it, seen from the host.
///
/// # Errors
///
/// [`HostError::Gone`] when it is not there.
pub fn counters(name: &NetdevName) -> Result<Counters, HostError> {
    check(name)?;
    let dir = Path::new("/sys/class/net").join(name.as_str()).join("statistics");
    if !dir.exists() {
        return Err(HostError::Gone { what: format!("the tap {name}") });
    }
    let count = |file: &str| std::fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok();
    Ok(Counters {
        rx_bytes: count("rx_bytes"),
        rx_packets: count("rx_packets"),
        rx_errors: count("rx_errors"),
        rx_dropped: count("rx_dropped"),
        tx_bytes: count("tx_bytes"),
        tx_packets: count("tx_packets"),
        tx_errors: count("tx_errors"),
        tx_dropped: count("tx_dropped"),
    })
}

/// Refuses a name that another program's device has, such as the tap of another manager's guest.
fn refuse_strangers(class: &Path, name: &NetdevName, owner: &str) -> Result<(), HostError> {
    let dir = class.join(name.as_str());
    let found = std::fs::read_to_string(dir.join("owner")).unwrap_or_default();
    if !dir.exists() || found.trim() == owner {
        return Ok(());
    }
    Err(HostError::Unexpected {
        path: dir.join("owner").display().to_string(),
        found: found.trim().to_owned(),
        expected: "a name that no other device has",
    })
}

/// Refuses what the kernel or `ip` would read as something else than a name: `%` is a pattern,
/// `-` begins an option.
fn check(name: &NetdevName) -> Result<(), HostError> {
    let text = name.as_str();
    if text.len() <= NAME_MAX && !text.starts_with('-') && !text.contains('%') {
        return Ok(());
    }
    Err(HostError::Unexpected {
        path: "a tap's name".to_owned(),
        found: text.to_owned(),
        expected: "15 bytes at most, without % and no - in front",
    })
}

fn is_bridge(class: &Path, name: &NetdevName) -> bool {
    class.join(name.as_str()).join("bridge").is_dir()
}

fn ip(args: &[&str]) -> Result<(), HostError> {
    system("ip", args)
}

fn system(program: &str, args: &[&str]) -> Result<(), HostError> {
    let failed =
        |said| Err(HostError::Process { program: format!("{program} {}", args.join(" ")), said });
    match command(program, Purpose::System).args(args).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NetdevName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_that_means_something_else_is_refused() {
        for text in ["-tap", "tap%d", "sixteen-byte-tap"] {
            assert!(create(&name(text), 0, &name("lo")).is_err(), "{text}");
            assert!(remove(&name(text), 0).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_bridge_takes_no_tap() {
        let error = create(&name("vftest0"), 0, &name("lo")).unwrap_err();
        assert!(matches!(error, HostError::Gone { .. }), "{error}");
    }

    #[test]
    fn a_tap_of_another_owner_is_not_made_anew() {
        let class = tempfile::tempdir().unwrap();
        let tap = class.path().join("vnet0");
        refuse_strangers(class.path(), &name("vnet0"), "1000").unwrap();
        std::fs::create_dir(&tap).unwrap();
        refuse_strangers(class.path(), &name("vnet0"), "1000").unwrap_err();
        std::fs::write(tap.join("owner"), "-1\n").unwrap();
        refuse_strangers(class.path(), &name("vnet0"), "1000").unwrap_err();
        std::fs::write(tap.join("owner"), "1000\n").unwrap();
        refuse_strangers(class.path(), &name("vnet0"), "1000").unwrap();
    }

    #[test]
    fn a_device_that_is_no_tap_is_not_removed() {
        let error = remove(&name("lo"), 0).unwrap_err();
        assert!(matches!(error, HostError::Unexpected { .. }), "{error}");
        remove(&name("vftest-none"), 0).unwrap();
    }
}
