//! `vfnet exec`: a VF for a program. The process that asks for the VF becomes the program, so that
//! nobody stands between it and its terminal, its signals and its exit code, and the daemon need
//! wait for one process only.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use vfnet_model::report::LeaseReport;
use vfnet_rpc::vfnet::{Lease, LeaseArgs};

use crate::connection::{Connection, text};
use crate::fault::Fault;
use crate::options::ExecOptions;
use crate::progress::Waiting;

/// Becomes the program, or says why not.
pub(crate) fn exec(mut daemon: Connection, options: ExecOptions) -> Result<Infallible, Fault> {
    let ExecOptions { network, mac, portgroup, program } = options;
    let (program, arguments) = program.split_first().ok_or(Fault::NoProgram)?;
    let waiting = Waiting::until(format!("lending a VF of network {network}"));
    let name = Path::new(program).file_name().unwrap_or(program);
    let args = LeaseArgs {
        network: text("a network's name", network.clone())?,
        portgroup: portgroup.map(|name| text("a portgroup's name", name)).transpose()?,
        mac: mac.map(|mac| text("a MAC", mac.to_string())).transpose()?,
        program: text("a program's name", name.to_string_lossy().into_owned())?,
    };
    let doing = format!("lend a VF of network {network}");
    let lease: LeaseReport = daemon.report::<Lease, _>(&args, &doing)?;
    drop((waiting, daemon));
    Err(become_program(program, arguments, &lease))
}

#[expect(
    clippy::disallowed_methods,
    reason = "no process is started: this one becomes the program that it was given"
)]
fn become_program(program: &OsStr, arguments: &[OsString], lease: &LeaseReport) -> Fault {
    let values = Values::of(lease);
    let source = Command::new(program)
        .args(arguments.iter().map(|argument| values.put_into(argument)))
        .envs(values.0.iter().map(|(_, variable, value)| (variable, value)))
        .env("VFNET_NETWORK", lease.network.as_str())
        .exec();
    Fault::Program { program: program.to_owned(), source }
}

/// What was lent: placeholder, variable, value.
struct Values([(&'static str, &'static str, String); 4]);

impl Values {
    fn of(lease: &LeaseReport) -> Self {
        Self([
            ("{bdf}", "VFNET_BDF", lease.address.to_string()),
            ("{sysfs}", "VFNET_SYSFS", format!("/sys/bus/pci/devices/{}", lease.address)),
            ("{vfio-group}", "VFNET_VFIO_GROUP", lease.vfio_group.to_string()),
            ("{mac}", "VFNET_MAC", lease.mac.to_string()),
        ])
    }

    fn put_into(&self, argument: &OsStr) -> OsString {
        let mut left = argument.as_bytes();
        let mut whole = Vec::with_capacity(left.len());
        while let [first, rest @ ..] = left {
            let here = self.0.iter().find(|(name, ..)| left.starts_with(name.as_bytes()));
            if let Some((name, _, value)) = here {
                whole.extend_from_slice(value.as_bytes());
                left = &left[name.len()..];
            } else {
                whole.push(*first);
                left = rest;
            }
        }
        OsString::from_vec(whole)
    }
}

/// The exit code of a shell, env(1) and timeout(1) for what could not be run.
pub(crate) fn exit_code(fault: &io::Error) -> u8 {
    if fault.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_stands_where_its_names_stood_and_other_braces_stay() {
        let values = Values::of(&LeaseReport {
            network: "hw".parse().unwrap(),
            address: "0000:01:10.0".parse().unwrap(),
            vfio_group: 17,
            mac: "52:54:00:00:00:01".parse().unwrap(),
        });
        let put = |argument: &str| values.put_into(argument.as_ref()).into_string().unwrap();
        assert_eq!(put("vfio-pci,host={bdf}"), "vfio-pci,host=0000:01:10.0");
        assert_eq!(
            put("{sysfs}/net:{mac}"),
            "/sys/bus/pci/devices/0000:01:10.0/net:52:54:00:00:00:01"
        );
        assert_eq!(put("/dev/vfio/{vfio-group}{bdf"), "/dev/vfio/17{bdf");
        assert_eq!(
            put("{\"driver\": {}, \"host\": \"{bdf}\"}"),
            "{\"driver\": {}, \"host\": \"0000:01:10.0\"}"
        );
        let raw = OsString::from_vec(vec![0xff, b'{', b'm', b'a', b'c', b'}']);
        assert_eq!(values.put_into(&raw).as_bytes()[..2], [0xff, b'5']);
    }
}
