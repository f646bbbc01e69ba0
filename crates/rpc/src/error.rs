//! libvirt's errors: numbers, the texts in front of the detail, and their form on the wire.
//!
//! Programs branch on the number ([`ErrorCode`]); people read `prefix + detail`
//! ([`message_for`]). Both are libvirt's; the detail is ours.

use std::fmt;

use crate::objects::{Domain, Network};
use crate::xdr::{Text, xdr};

/// Numbers with names; a peer may send others.
macro_rules! numbers {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $variant:ident = $number:literal $libvirt:literal ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( #[doc = concat!("`", $libvirt, "`, ", $number)] $variant, )*
        }

        impl $name {
            /// The number on the wire.
            pub const fn number(self) -> i32 {
                match self {
                    $( Self::$variant => $number, )*
                }
            }

            /// The name behind a number, if it is one of these.
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// libvirt's name.
            pub const fn libvirt_name(self) -> &'static str {
                match self {
                    $( Self::$variant => $libvirt, )*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.libvirt_name())
            }
        }
    )*};
}

numbers! {
    /// What went wrong, for programs.
    pub enum ErrorCode {
        InternalError = 1 "VIR_ERR_INTERNAL_ERROR",
        NoMemory = 2 "VIR_ERR_NO_MEMORY",
        NoSupport = 3 "VIR_ERR_NO_SUPPORT",
        NoConnect = 5 "VIR_ERR_NO_CONNECT",
        InvalidArg = 8 "VIR_ERR_INVALID_ARG",
        OperationFailed = 9 "VIR_ERR_OPERATION_FAILED",
        NoName = 21 "VIR_ERR_NO_NAME",
        XmlError = 27 "VIR_ERR_XML_ERROR",
        OperationDenied = 29 "VIR_ERR_OPERATION_DENIED",
        XmlDetail = 35 "VIR_ERR_XML_DETAIL",
        SystemError = 38 "VIR_ERR_SYSTEM_ERROR",
        Rpc = 39 "VIR_ERR_RPC",
        NoDomain = 42 "VIR_ERR_NO_DOMAIN",
        NoNetwork = 43 "VIR_ERR_NO_NETWORK",
        InvalidMac = 44 "VIR_ERR_INVALID_MAC",
        AuthFailed = 45 "VIR_ERR_AUTH_FAILED",
        NoStoragePool = 49 "VIR_ERR_NO_STORAGE_POOL",
        NoStorageVol = 50 "VIR_ERR_NO_STORAGE_VOL",
        NoNodeDevice = 53 "VIR_ERR_NO_NODE_DEVICE",
        OperationInvalid = 55 "VIR_ERR_OPERATION_INVALID",
        ConfigUnsupported = 67 "VIR_ERR_CONFIG_UNSUPPORTED",
        OperationTimeout = 68 "VIR_ERR_OPERATION_TIMEOUT",
        HookScriptFailed = 70 "VIR_ERR_HOOK_SCRIPT_FAILED",
        ArgumentUnsupported = 74 "VIR_ERR_ARGUMENT_UNSUPPORTED",
        OperationAborted = 78 "VIR_ERR_OPERATION_ABORTED",
        NoDomainMetadata = 80 "VIR_ERR_NO_DOMAIN_METADATA",
        OperationUnsupported = 84 "VIR_ERR_OPERATION_UNSUPPORTED",
        AgentUnresponsive = 86 "VIR_ERR_AGENT_UNRESPONSIVE",
        ResourceBusy = 87 "VIR_ERR_RESOURCE_BUSY",
        AccessDenied = 88 "VIR_ERR_ACCESS_DENIED",
        XmlInvalidSchema = 92 "VIR_ERR_XML_INVALID_SCHEMA",
        AuthUnavailable = 94 "VIR_ERR_AUTH_UNAVAILABLE",
        DeviceMissing = 99 "VIR_ERR_DEVICE_MISSING",
        InvalidNetworkPort = 105 "VIR_ERR_INVALID_NETWORK_PORT",
        NetworkPortExist = 106 "VIR_ERR_NETWORK_PORT_EXIST",
        NoNetworkPort = 107 "VIR_ERR_NO_NETWORK_PORT",
        NoNetworkMetadata = 111 "VIR_ERR_NO_NETWORK_METADATA",
    }

    /// Which part it went wrong in.
    pub enum ErrorDomain {
        None = 0 "VIR_FROM_NONE",
        Xml = 5 "VIR_FROM_XML",
        Rpc = 7 "VIR_FROM_RPC",
        Qemu = 10 "VIR_FROM_QEMU",
        Remote = 13 "VIR_FROM_REMOTE",
        Storage = 18 "VIR_FROM_STORAGE",
        Network = 19 "VIR_FROM_NETWORK",
        Domain = 20 "VIR_FROM_DOMAIN",
        NodeDevice = 22 "VIR_FROM_NODEDEV",
        Streams = 38 "VIR_FROM_STREAMS",
        Event = 40 "VIR_FROM_EVENT",
        Identity = 53 "VIR_FROM_IDENTITY",
        Access = 55 "VIR_FROM_ACCESS",
    }
}

/// libvirt's text around the detail; `{}` stands for it. `None`: the detail stands alone.
fn pattern(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::InternalError => "internal error: {}",
        ErrorCode::NoMemory => "out of memory: {}",
        ErrorCode::NoSupport => "this function is not supported by the connection driver: {}",
        ErrorCode::InvalidArg => "invalid argument: {}",
        ErrorCode::OperationFailed => "operation failed: {}",
        ErrorCode::XmlError => "XML error: {}",
        ErrorCode::OperationDenied => "operation forbidden: {}",
        ErrorCode::NoDomain => "Domain not found: {}",
        ErrorCode::NoNetwork => "Network not found: {}",
        ErrorCode::InvalidMac => "invalid MAC address: {}",
        ErrorCode::AuthFailed => "authentication failed: {}",
        ErrorCode::NoStoragePool => "Storage pool not found: {}",
        ErrorCode::NoStorageVol => "Storage volume not found: {}",
        ErrorCode::NoNodeDevice => "Node device not found: {}",
        ErrorCode::OperationInvalid => "Requested operation is not valid: {}",
        ErrorCode::ConfigUnsupported => "unsupported configuration: {}",
        ErrorCode::OperationTimeout => "Timed out during operation: {}",
        ErrorCode::HookScriptFailed => "Hook script execution failed: {}",
        ErrorCode::ArgumentUnsupported => "argument unsupported: {}",
        ErrorCode::OperationAborted => "operation aborted: {}",
        ErrorCode::NoDomainMetadata | ErrorCode::NoNetworkMetadata => "metadata not found: {}",
        ErrorCode::OperationUnsupported => "Operation not supported: {}",
        ErrorCode::AgentUnresponsive => "Guest agent is not responding: {}",
        ErrorCode::ResourceBusy => "resource busy: {}",
        ErrorCode::AccessDenied => "access denied: {}",
        ErrorCode::AuthUnavailable => "authentication unavailable: {}",
        ErrorCode::DeviceMissing => "device not found: {}",
        ErrorCode::InvalidNetworkPort => "Invalid network port pointer: {}",
        ErrorCode::NetworkPortExist => "network port {} exists already",
        ErrorCode::NoNetworkPort => "network port not found: {}",
        ErrorCode::NoConnect
        | ErrorCode::NoName
        | ErrorCode::XmlDetail
        | ErrorCode::SystemError
        | ErrorCode::Rpc
        | ErrorCode::XmlInvalidSchema => return None,
    })
}

/// The message that a client prints: libvirt's text for the number, with the detail in it.
pub fn message_for(code: ErrorCode, detail: &str) -> String {
    match pattern(code) {
        Some(pattern) => pattern.replacen("{}", detail, 1),
        None => detail.to_owned(),
    }
}

xdr! {
    /// An error on the wire.
    pub struct WireError {
        /// An [`ErrorCode`]'s number, or one that this crate has no name for.
        pub code: i32,
        /// An [`ErrorDomain`]'s number, or one that this crate has no name for.
        pub domain: i32,
        /// What a person reads.
        pub message: Option<Text>,
        /// 2 is an error, 1 a warning.
        pub level: i32,
        /// What it concerns, and the message in parts.
        pub about: Box<ErrorAbout>,
    }

    /// What an error concerns, and its message in parts. Clients seldom look at it.
    pub struct ErrorAbout {
        /// The guest concerned.
        pub dom: Option<Domain>,
        /// The message's text around the detail.
        pub str1: Option<Text>,
        /// The detail.
        pub str2: Option<Text>,
        /// More, seldom used.
        pub str3: Option<Text>,
        /// More, seldom used.
        pub int1: i32,
        /// More, seldom used.
        pub int2: i32,
        /// The network concerned.
        pub net: Option<Network>,
    }
}

/// An error, not a warning.
const LEVEL_ERROR: i32 = 2;

impl ErrorAbout {
    /// Nothing in particular.
    pub const fn none() -> Self {
        Self { dom: None, str1: None, str2: None, str3: None, int1: -1, int2: -1, net: None }
    }
}

impl WireError {
    /// An error whose message is libvirt's text for `code` with `detail` in it, as clients show it
    /// on a terminal: what it quotes of documents, QEMU and scripts is made legible.
    pub fn new(domain: ErrorDomain, code: ErrorCode, detail: &str) -> Self {
        let detail = &vfnet_model::legible(detail);
        Self {
            code: code.number(),
            domain: domain.number(),
            message: Some(Text::clipped(&message_for(code, detail))),
            level: LEVEL_ERROR,
            about: Box::new(ErrorAbout {
                str1: Some(Text::clipped(&message_for(code, "%s"))),
                str2: Some(Text::clipped(detail)),
                ..ErrorAbout::none()
            }),
        }
    }

    /// The code, if this crate has a name for it.
    pub fn known_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.code)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => write!(f, "error {} of the server", self.code),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Xdr;
    use crate::xdr::sample::{keeps_its_promise, survives_garbage};

    #[test]
    fn an_error_survives_the_wire() {
        keeps_its_promise::<WireError>("error");
        survives_garbage::<WireError>("error");
    }

    #[test]
    fn a_message_is_libvirts_text_with_our_detail() {
        let error = WireError::new(ErrorDomain::Network, ErrorCode::NoNetwork, "no 'hw' here");
        assert_eq!(error.to_string(), "Network not found: no 'hw' here");
        assert_eq!(
            message_for(ErrorCode::NetworkPortExist, "{}"),
            "network port {} exists already"
        );
        assert_eq!(message_for(ErrorCode::Rpc, "unknown procedure: 9"), "unknown procedure: 9");
    }

    #[test]
    fn no_message_has_anything_in_it_that_a_terminal_obeys() {
        let error =
            WireError::new(ErrorDomain::Qemu, ErrorCode::OperationFailed, "a\x1b[2J\u{202e}");
        assert!(error.to_string().ends_with("a\u{fffd}[2J\u{fffd}"), "{error}");
        let detail = error.about.str2.as_ref().map(ToString::to_string);
        assert_eq!(detail.as_deref(), Some("a\u{fffd}[2J\u{fffd}"));
    }

    #[test]
    fn an_error_has_these_bytes() {
        let mut error = WireError::new(ErrorDomain::Rpc, ErrorCode::Rpc, "no");
        error.about.str1 = None;
        error.about.str2 = None;
        let words: [&[u8]; 13] = [
            &[0, 0, 0, 39],
            &[0, 0, 0, 7],
            &[0, 0, 0, 1],
            &[0, 0, 0, 2],
            b"no\0\0",
            &[0, 0, 0, 2],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0],
            &[0xff; 4],
            &[0xff; 4],
            &[0, 0, 0, 0],
        ];
        assert_eq!(error.to_bytes(), words.concat());
    }

    #[test]
    fn a_detail_that_is_too_long_is_cut_not_lost() {
        let detail = "ü".repeat(3 * 1024 * 1024);
        let error = WireError::new(ErrorDomain::None, ErrorCode::InternalError, &detail);
        assert!(error.to_string().starts_with("internal error: ü"));
        assert_eq!(WireError::from_bytes(&error.to_bytes()), Ok(error));
    }
}
