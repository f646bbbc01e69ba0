//! The one place where refusals become libvirt's error numbers. Clients branch on the number;
//! the text is ours.

use vfnet_engine::{Refusal, RefusalKind};
use vfnet_model::xml::{DocumentError, Kind};
use vfnet_qemu::agent::AgentError;
use vfnet_qemu::vcpus::VcpuError;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};

use crate::guests::CommandError;
use crate::pools::PoolError;

/// A fault of a document.
pub(crate) fn document(domain: ErrorDomain, fault: &DocumentError) -> WireError {
    let code = match fault.kind {
        Kind::Malformed | Kind::Invalid => ErrorCode::XmlError,
        Kind::Detail => ErrorCode::XmlDetail,
        Kind::NoName => ErrorCode::NoName,
        Kind::Internal => ErrorCode::InternalError,
        Kind::Unsupported => ErrorCode::ConfigUnsupported,
    };
    WireError::new(domain, code, &fault.to_string())
}

/// A refusal of the engine.
pub(crate) fn refusal(domain: ErrorDomain, refusal: &Refusal) -> WireError {
    let code = match refusal.kind {
        RefusalKind::NoNetwork => ErrorCode::NoNetwork,
        RefusalKind::NoGuest => ErrorCode::NoDomain,
        RefusalKind::NoPort => ErrorCode::NoNetworkPort,
        RefusalKind::NoDevice => ErrorCode::DeviceMissing,
        RefusalKind::OperationInvalid => ErrorCode::OperationInvalid,
        RefusalKind::OperationFailed
        | RefusalKind::NotRecorded
        | RefusalKind::ChangedMeanwhile
        | RefusalKind::KeptChangedMeanwhile => ErrorCode::OperationFailed,
        RefusalKind::InvalidArgument => ErrorCode::InvalidArg,
        RefusalKind::Unsupported => ErrorCode::ConfigUnsupported,
        RefusalKind::HookFailed => ErrorCode::HookScriptFailed,
        RefusalKind::Exhausted => ErrorCode::InternalError,
        RefusalKind::PortExists => ErrorCode::NetworkPortExist,
    };
    WireError::new(domain, code, &refusal.to_string())
}

/// A guest that did not do as it was told.
pub(crate) fn command(fault: &CommandError) -> WireError {
    let code = match fault {
        CommandError::NotRunning => ErrorCode::OperationInvalid,
        CommandError::NoConsole(_) => ErrorCode::InvalidArg,
        CommandError::NoAgent => ErrorCode::ArgumentUnsupported,
        CommandError::Agent(AgentError::Refused(_)) => ErrorCode::InternalError,
        CommandError::AgentAway | CommandError::Agent(_) => ErrorCode::AgentUnresponsive,
        CommandError::Vcpus(VcpuError::FromStart) => ErrorCode::OperationUnsupported,
        CommandError::Guest(_) | CommandError::Vcpus(_) | CommandError::Console(_) => {
            ErrorCode::OperationFailed
        }
    };
    WireError::new(ErrorDomain::Qemu, code, &vfnet_model::explain(fault))
}

/// A storage pool or volume.
pub(crate) fn pool(fault: &PoolError) -> WireError {
    let code = match fault {
        PoolError::NoPool(_) => ErrorCode::NoStoragePool,
        PoolError::NoVolume(_) => ErrorCode::NoStorageVol,
        PoolError::Inactive(_) | PoolError::Active(_) => ErrorCode::OperationInvalid,
        PoolError::Transient(_) => ErrorCode::OperationInvalid,
        PoolError::File { .. } => ErrorCode::SystemError,
        PoolError::Conflict { .. }
        | PoolError::TooMany
        | PoolError::TooManyEntries(_)
        | PoolError::NotRecorded { .. } => ErrorCode::OperationFailed,
    };
    WireError::new(ErrorDomain::Storage, code, &vfnet_model::explain(fault))
}

/// An argument that makes no sense.
pub(crate) fn invalid(domain: ErrorDomain, detail: &str) -> WireError {
    WireError::new(domain, ErrorCode::InvalidArg, detail)
}
