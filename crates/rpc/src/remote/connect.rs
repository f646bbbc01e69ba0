//! What calls about the connection and the host carry.

use crate::typed_params::TypedParam;
use crate::xdr::{List, Reader, Text, Xdr, XdrError, xdr};

/// The most parameters of an identity.
pub const IDENTITY_PARAMS_MAX: usize = 20;

/// How a client may authenticate; the elements of `AUTH_LIST`'s answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// Not at all: the socket's permissions and the peer's credentials decide.
    None,
    /// By SASL.
    Sasl,
    /// By asking polkit.
    Polkit,
}

impl AuthType {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Sasl => 1,
            Self::Polkit => 2,
        }
    }
}

/// What a client may ask for with `CONNECT_SUPPORTS_FEATURE`, as far as a server that does not
/// migrate guests can say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `VIR_DRV_FEATURE_REMOTE`: the connection is to a daemon.
    Remote,
    /// `VIR_DRV_FEATURE_FD_PASSING`: descriptors may be sent along.
    FdPassing,
    /// `VIR_DRV_FEATURE_TYPED_PARAM_STRING`: parameters may be strings.
    TypedParamString,
    /// `VIR_DRV_FEATURE_PROGRAM_KEEPALIVE`: pings are understood. A server starts to ping after
    /// it was asked this.
    ProgramKeepalive,
    /// `VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK`: events are filtered by the server.
    RemoteEventCallback,
    /// `VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK`: close callbacks can be registered.
    RemoteCloseCallback,
    /// `VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER`: command and section of
    /// `NETWORK_UPDATE` arrive in the documented order.
    NetworkUpdateHasCorrectOrder,
}

impl Feature {
    /// The feature behind a number; `None` for those to which the answer is no.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            2 => Self::Remote,
            8 => Self::FdPassing,
            9 => Self::TypedParamString,
            10 => Self::ProgramKeepalive,
            14 => Self::RemoteEventCallback,
            15 => Self::RemoteCloseCallback,
            16 => Self::NetworkUpdateHasCorrectOrder,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Remote => 2,
            Self::FdPassing => 8,
            Self::TypedParamString => 9,
            Self::ProgramKeepalive => 10,
            Self::RemoteEventCallback => 14,
            Self::RemoteCloseCallback => 15,
            Self::NetworkUpdateHasCorrectOrder => 16,
        }
    }
}

/// Why a connection to what is behind the daemon ended; the body of
/// `CONNECT_EVENT_CONNECTION_CLOSED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// An error.
    Error,
    /// The other side closed.
    Eof,
    /// The other side did not answer pings.
    Keepalive,
    /// The client asked for it.
    Client,
}

impl CloseReason {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Error => 0,
            Self::Eof => 1,
            Self::Keepalive => 2,
            Self::Client => 3,
        }
    }
}

xdr! {
    /// `CONNECT_OPEN`
    pub struct ConnectOpenArgs {
        /// The URI without its transport and socket, such as `qemu:///system`. Without one the
        /// server chooses, and the client asks for it with `CONNECT_GET_URI`.
        pub name: Option<Text>,
        /// [`CONNECT_RO`](crate::flags::CONNECT_RO) or 0.
        pub flags: u32,
    }

    /// `CONNECT_SET_IDENTITY`
    pub struct SetIdentityArgs {
        /// Who the client speaks for: `unix-user-id`, `process-id` and so on.
        pub params: List<TypedParam, IDENTITY_PARAMS_MAX>,
        /// None are known.
        pub flags: u32,
    }

    /// What ends an event registration.
    pub struct CallbackArgs {
        /// The number that the registration was answered with.
        pub callback: i32,
    }

    /// `NODE_GET_INFO`
    pub struct NodeInfo {
        /// Name of the CPU's architecture, such as `x86_64`.
        pub model: ModelName,
        /// KiB of memory.
        pub memory: u64,
        /// Online CPUs.
        pub cpus: i32,
        /// Their clock in MHz.
        pub mhz: i32,
        /// NUMA nodes.
        pub nodes: i32,
        /// Sockets per node.
        pub sockets: i32,
        /// Cores per socket.
        pub cores: i32,
        /// Threads per core.
        pub threads: i32,
    }

    /// `CONNECT_GET_DOMAIN_CAPABILITIES`
    pub struct DomainCapabilitiesArgs {
        /// Path of the emulator.
        pub emulator: Option<Text>,
        /// Architecture, such as `x86_64`.
        pub arch: Option<Text>,
        /// Machine type, such as `q35`.
        pub machine: Option<Text>,
        /// `kvm` or `qemu`.
        pub virt_type: Option<Text>,
        /// Not used by what is served.
        pub flags: u32,
    }

    /// `CONNECT_DOMAIN_XML_TO_NATIVE`
    pub struct XmlToNativeArgs {
        /// `qemu-argv`
        pub format: Text,
        /// The guest's document.
        pub xml: Text,
        /// None are known.
        pub flags: u32,
    }
}

/// A C array of 32 characters, ended by a zero. Each travels as a word of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelName([u8; Self::LEN]);

impl ModelName {
    const LEN: usize = 32;

    /// The first 31 bytes of a name.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.iter_mut().zip(name.bytes().take(Self::LEN - 1)) {
            *to = from;
        }
        Self(bytes)
    }

    /// The bytes in front of the zero.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl Xdr for ModelName {
    fn put(&self, out: &mut Vec<u8>) {
        for byte in self.0 {
            // A C char is signed.
            i32::from(byte.cast_signed()).put(out);
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let mut bytes = [0; Self::LEN];
        for byte in &mut bytes {
            let at = input.at();
            let word = i32::get(input)?;
            let value = word.cast_unsigned();
            *byte = i8::try_from(word)
                .map_err(|_| XdrError::Value { at, value, expected: "character" })?
                .cast_unsigned();
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::{BoxedStrategy, Strategy};

    use super::*;
    use crate::xdr::sample::Sample;

    impl Sample for ModelName {
        fn strategy() -> BoxedStrategy<Self> {
            String::strategy().prop_map(|name| Self::new(&name)).boxed()
        }
    }

    impl Sample for String {
        fn strategy() -> BoxedStrategy<Self> {
            "\\PC{0,40}".boxed()
        }
    }

    #[test]
    fn a_model_name_takes_a_word_per_character() {
        let bytes = ModelName::new("x86_64").to_bytes();
        assert_eq!(bytes.len(), 128);
        assert_eq!(bytes[..8], [0, 0, 0, b'x', 0, 0, 0, b'8']);
        assert_eq!(ModelName::from_bytes(&bytes).expect("whole").as_bytes(), b"x86_64");
    }

    #[test]
    fn a_feature_has_one_number() {
        for number in 0..64 {
            if let Some(feature) = Feature::from_number(number) {
                assert_eq!(feature.number(), number);
            }
        }
    }
}
