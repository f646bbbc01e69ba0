//! The table of procedures as people read it: `vfnetd --list-procedures`.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use vfnet_rpc::procedures::{Access, ProcedureFacts};
use vfnet_rpc::{qemu, remote, vfnet};

/// Procedures of libvirt's program that are in the table for their arguments' sake and are
/// answered with error 3 (`VIR_ERR_NO_SUPPORT`). A test calls every procedure and compares.
const NOT_SERVED: &[i32] = &[136, 203];

/// All procedures, a line for each: program, number, name, who may call it, and whether it is
/// served.
#[derive(Clone, Copy, Debug)]
pub struct Procedures;

impl fmt::Display for Procedures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remote: Vec<_> = remote::Call::PROCEDURES.iter().collect();
        remote.sort_by_key(|facts| facts.number);
        for facts in remote {
            row(f, "remote", facts, !NOT_SERVED.contains(&facts.number))?;
        }
        for facts in qemu::Call::PROCEDURES {
            row(f, "qemu", facts, true)?;
        }
        for facts in vfnet::Call::PROCEDURES {
            row(f, "vfnet", facts, true)?;
        }
        Ok(())
    }
}

/// Prints them.
pub fn print() -> ExitCode {
    match write!(io::stdout(), "{Procedures}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::FAILURE,
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    program: &str,
    facts: &ProcedureFacts,
    is_served: bool,
) -> fmt::Result {
    let access = match facts.access {
        Access::Read => "read",
        Access::Write => "write",
    };
    let state = if is_served { "served" } else { "error 3" };
    writeln!(f, "{program:<7}{:>3}  {:<45}{access:<7}{state}", facts.number, facts.name)
}
