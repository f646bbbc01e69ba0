//! What can go wrong, how a person reads it, and which exit code programs see.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use vfnet_model::report::PlanReport;
use vfnet_model::{PciAddress, legible};
use vfnet_rpc::client::ReplyError;
use vfnet_rpc::error::{ErrorCode, WireError};
use vfnet_rpc::frame::FrameError;
use vfnet_rpc::xdr::BoundError;
use vfnet_store::StoreError;

/// Refused or failed.
const FAILED: u8 = 1;
/// The daemon cannot be reached.
const UNREACHABLE: u8 = 3;
/// No such network, guest or device.
const NOT_FOUND: u8 = 4;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot reach the daemon at {}", socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("cannot {doing}")]
    Call { doing: String, source: CallFault },
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NoSuchPf(String),
    #[error("cannot read {}", path.display())]
    Document { path: PathBuf, source: io::Error },
    #[error("{what} cannot be sent")]
    Unsendable { what: &'static str, source: BoundError },
    #[error("the daemon's report cannot be read; is vfnet of the same version?")]
    Report { source: serde_json::Error },
    #[error("guest '{guest}' has not shut down within {seconds} s; it may still do so")]
    StillRunning { guest: String, seconds: u64 },
    #[error("{0} events were missed: they came faster than they could be shown")]
    EventsMissed(u64),
    #[error("this host is not ready to lend VFs")]
    NotReady,
    #[error("{} is there already; nothing was written", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{refused} could not be moved; see the list")]
    Incomplete { refused: usize },
    #[error("the state is not as it should be; see above")]
    Unsound,
    #[error("cannot rebuild the state")]
    Rebuild { source: Box<vfnet_store::StoreError> },
    #[error("no program was given")]
    NoProgram,
    #[error("cannot run {}", program.display())]
    Program { program: OsString, source: io::Error },
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
    #[error("cannot use this terminal for a console")]
    Terminal(#[source] io::Error),
}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFault {
    #[error("the connection to the daemon broke")]
    Lost(#[source] io::Error),
    #[error("the daemon hung up")]
    HungUp,
    #[error("the daemon sent what is no frame")]
    Broken(#[source] FrameError),
    #[error("the request is too long")]
    TooLong(#[source] FrameError),
    #[error("the console was closed: {0}")]
    Closed(WireError),
    #[error("nothing was done: this is only planned")]
    Planned(Box<PlanReport>),
    #[error("the daemon's plan cannot be read; is vfnet of the same version?")]
    Plan(#[source] serde_json::Error),
    #[error("the request is too long to be planned")]
    Unplannable(#[source] BoundError),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl CallFault {
    /// The number of the server's error, where the server says no.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Reply(ReplyError::Server(error)) => error.known_code(),
            _ => None,
        }
    }
}

impl Fault {
    /// `doing` follows "cannot": a verb and its object.
    pub(crate) fn call(doing: impl Into<String>) -> impl FnOnce(CallFault) -> Self {
        move |source| Self::Call { doing: doing.into(), source }
    }

    /// See `vfnet --help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => UNREACHABLE,
            Self::Call { source: CallFault::Lost(_) | CallFault::HungUp, .. } => UNREACHABLE,
            Self::Call { source, .. } => match source.code() {
                Some(
                    ErrorCode::NoDomain
                    | ErrorCode::NoNetwork
                    | ErrorCode::NoNetworkPort
                    | ErrorCode::NoNodeDevice
                    | ErrorCode::DeviceMissing,
                ) => NOT_FOUND,
                _ => FAILED,
            },
            Self::NotFound(_) | Self::NoSuchPf(_) => NOT_FOUND,
            Self::Program { source, .. } => crate::exec::exit_code(source),
            _ => FAILED,
        }
    }

    /// What stderr shows: a line with what and why, a line per VF where there are several
    /// reasons, and a hint.
    pub(crate) fn report(&self) -> String {
        let mut line = self.to_string();
        let mut hint = None;
        let mut vfs = Vec::new();
        match self {
            Self::Call { source: CallFault::Reply(ReplyError::Server(error)), .. } => {
                let said = Said::of(error);
                if said.what.starts_with(&format!("{line}: ")) {
                    line = said.what;
                } else {
                    append(&mut line, &said.what);
                }
                (vfs, hint) = (said.vfs, said.hint);
            }
            other => {
                let mut cause = std::error::Error::source(other);
                while let Some(next) = cause {
                    append(&mut line, &next.to_string());
                    cause = next.source();
                }
            }
        }
        let hint = hint.or_else(|| self.next_step());
        let mut text = format!("vfnet: {line}\n");
        for (vf, why) in vfs {
            append_line(&mut text, &format!("{vf}  {why}"));
        }
        if let Some(hint) = hint {
            append_line(&mut text, &format!("hint: {hint}"));
        }
        // What a message quotes may be anything; the terminal must not obey it.
        legible(&text)
    }

    /// What to do next, where the daemon has said nothing about it.
    fn next_step(&self) -> Option<String> {
        let step = match self {
            Self::Unreachable { source, .. } => how_to_reach(source.kind()),
            Self::StillRunning { guest, .. } => {
                return Some(format!("vfnet guest destroy {guest} ends it at once"));
            }
            Self::Unsound => {
                "stop vfnetd and say `vfnet state rebuild` where a file is refused; what becomes \
                 of single records, docs/operations.md says"
            }
            Self::Rebuild { source } if matches!(**source, StoreError::InUse { .. }) => {
                "systemctl stop vfnetd.socket vfnetd-ro.socket vfnetd; guests run on"
            }
            Self::NotFound(_) => "vfnet vf ls lists the VFs of this host",
            Self::NoSuchPf(_) => "vfnet pf ls lists the PFs of this host",
            Self::Exists { .. } => "name another directory, or say --force",
            Self::Call { source, .. } => match source.code()? {
                ErrorCode::NoNetwork => "vfnet net ls --all lists the networks",
                ErrorCode::NoDomain => "vfnet guest ls --all lists the guests",
                ErrorCode::DeviceMissing => "vfnet vf ls lists the VFs of this host",
                _ => return None,
            },
            _ => return None,
        };
        Some(step.to_owned())
    }
}

fn how_to_reach(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "be root, or a member of group vfnet: usermod -aG vfnet USER, then log in again"
        }
        _ => {
            "start it with: systemctl start vfnetd (and see: journalctl -u vfnetd), or run vfnetd \
             as root"
        }
    }
}

fn append(line: &mut String, more: &str) {
    // Writing to a String does not fail.
    let _infallible = write!(line, ": {more}");
}

fn append_line(text: &mut String, line: &str) {
    let _infallible = writeln!(text, "  {line}");
}

/// A server's message, taken apart: `what: ADDRESS why; ADDRESS why (hint)`.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    what: String,
    vfs: Vec<(PciAddress, String)>,
    hint: Option<String>,
}

impl Said {
    fn of(error: &WireError) -> Self {
        let message = error.to_string();
        // These words are for who looks at numbers. To people the first would say that vfnet
        // is broken, the second only that what failed has failed.
        let numbered = match error.known_code() {
            Some(ErrorCode::InternalError) => "internal error: ",
            Some(ErrorCode::OperationFailed) => "operation failed: ",
            _ => "",
        };
        let message = message.strip_prefix(numbered).unwrap_or(&message);
        let (message, hint) = split_hint(message);
        let (what, vfs) = split_vfs(message);
        Self { what: what.to_owned(), vfs, hint: hint.map(str::to_owned) }
    }
}

/// Cuts off a last `(…)` of several words, unless it says where in a document something is, or
/// which number the system gives to a failure.
fn split_hint(message: &str) -> (&str, Option<&str>) {
    let whole = (message, None);
    let Some(inner) = message.strip_suffix(')') else { return whole };
    let mut depth = 1;
    for (place, character) in inner.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let hint = &inner[place + 1..];
            let Some(message) = inner[..place].strip_suffix(' ') else { return whole };
            let advice = hint.contains(' ')
                && !["at ", "os error "].iter().any(|place| hint.starts_with(place));
            return if advice { (message, Some(hint)) } else { whole };
        }
    }
    whole
}

/// The reasons per VF behind the first `: ADDRESS `, where there are several.
fn split_vfs(message: &str) -> (&str, Vec<(PciAddress, String)>) {
    let Some((start, _)) =
        message.match_indices(": ").find(|(place, _)| leading_vf(&message[place + 2..]).is_some())
    else {
        return (message, Vec::new());
    };
    let mut vfs: Vec<(PciAddress, String)> = Vec::new();
    for part in message[start + 2..].split("; ") {
        match (leading_vf(part), vfs.last_mut()) {
            (Some((vf, why)), _) => vfs.push((vf, why.to_owned())),
            // A reason with a semicolon in it.
            (None, Some((_, why))) => {
                why.push_str("; ");
                why.push_str(part);
            }
            (None, None) => {}
        }
    }
    if vfs.len() < 2 { (message, Vec::new()) } else { (&message[..start], vfs) }
}

fn leading_vf(text: &str) -> Option<(PciAddress, &str)> {
    let (address, why) = text.split_once(' ')?;
    Some((address.parse().ok()?, why))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use vfnet_rpc::error::ErrorDomain;

    use super::*;

    fn refused(code: ErrorCode, detail: &str) -> Fault {
        let error = WireError::new(ErrorDomain::Network, code, detail);
        Fault::call("start guest 'h'")(CallFault::Reply(ReplyError::Server(error)))
    }

    #[test]
    fn every_vfs_reason_has_a_line_of_its_own() {
        let fault = refused(
            ErrorCode::InternalError,
            "network 'hw': none of its 3 VFs can be lent: 0000:01:10.0 held by guest a; \
             0000:01:10.2 quarantined (no answer); to try again: vfnet vf restore 0000:01:10.2; \
             0000:01:10.4 held by guest b (end a guest, or make more VFs)",
        );
        assert_snapshot!(fault.report(), @r"
        vfnet: cannot start guest 'h': network 'hw': none of its 3 VFs can be lent
          0000:01:10.0  held by guest a
          0000:01:10.2  quarantined (no answer); to try again: vfnet vf restore 0000:01:10.2
          0000:01:10.4  held by guest b
          hint: end a guest, or make more VFs
        ");
        assert_eq!(fault.exit_code(), 1);
    }

    #[test]
    fn a_message_without_vfs_stays_one_line() {
        let fault = refused(ErrorCode::ConfigUnsupported, "element <frob>");
        assert_snapshot!(
            fault.report(),
            @"vfnet: cannot start guest 'h': unsupported configuration: element <frob>"
        );
        assert_eq!(fault.exit_code(), 1);
    }

    #[test]
    fn what_is_not_there_can_be_looked_up() {
        let fault = refused(ErrorCode::NoNetwork, "no network with matching name 'hw'");
        assert_snapshot!(
            fault.report(),
            @r"
        vfnet: cannot start guest 'h': Network not found: no network with matching name 'hw'
          hint: vfnet net ls --all lists the networks
        "
        );
        assert_eq!(fault.exit_code(), 4);
    }

    #[test]
    fn a_word_in_parentheses_is_no_hint() {
        assert_eq!(split_hint("ens1f0 (0000:01:00.0)"), ("ens1f0 (0000:01:00.0)", None));
        assert_eq!(split_hint("is down (do (so) now)"), ("is down", Some("do (so) now")));
        assert_eq!(split_hint("unbalanced)"), ("unbalanced)", None));
        let place = "forward mode 'nat' (at /network/forward, line 1)";
        assert_eq!(split_hint(place), (place, None));
        let number = "cannot open /nodisk: No such file or directory (os error 2)";
        assert_eq!(split_hint(number), (number, None));
    }

    #[test]
    fn what_the_daemon_says_already_is_not_said_twice() {
        for code in [ErrorCode::OperationFailed, ErrorCode::InternalError] {
            let fault = refused(code, "cannot start guest 'h': no such disk");
            assert_eq!(fault.report(), "vfnet: cannot start guest 'h': no such disk\n");
        }
    }

    #[test]
    fn a_terminal_does_not_obey_what_a_message_quotes() {
        let fault = refused(ErrorCode::XmlError, "no element '\x1b[2J'");
        assert!(!fault.report().contains('\x1b'));
    }

    #[test]
    fn a_daemon_that_is_not_there_can_be_started() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let fault = Fault::Unreachable { socket: "/run/vfnet/libvirt-sock".into(), source };
        assert_snapshot!(fault.report(), @r"
        vfnet: cannot reach the daemon at /run/vfnet/libvirt-sock: entity not found
          hint: start it with: systemctl start vfnetd (and see: journalctl -u vfnetd), or run vfnetd as root
        ");
        assert_eq!(fault.exit_code(), 3);
    }
}
