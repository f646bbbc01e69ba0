//! Plans of calls: the very call that would make a change, served as far as the engine, which
//! decides on a copy of its state ([`vfnet_engine::State::plan`]).
//!
//! The way there is the one that the call itself takes: its document is read, the host is looked
//! at, and what is refused is refused in the same words. It ends where the engine is asked
//! ([`EngineHandle::planning`](crate::engine_task::EngineHandle::planning)), so that nothing that
//! would follow is done.

use vfnet_model::report::PlanReport;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::procedures::CallError;
use vfnet_rpc::vfnet::PlanArgs;
use vfnet_rpc::{remote, vfnet};

use super::{Outcome, own, serve};
use crate::{Daemon, upstream};

pub(super) async fn plan(daemon: &Daemon, args: &PlanArgs) -> Result<PlanReport, WireError> {
    let (engine, planned) = daemon.engine.planning();
    let daemon = Daemon { engine, ..daemon.clone() };
    let outcome = match args.program {
        remote::PROGRAM => {
            let call = remote::Call::decode(args.procedure, &args.payload).map_err(unknown)?;
            libvirts(&daemon, call).await
        }
        vfnet::PROGRAM => {
            let call = vfnet::Call::decode(args.procedure, &args.payload).map_err(unknown)?;
            ours(&daemon, call).await
        }
        other => Err(error(ErrorCode::InvalidArg, &format!("no program {other:#x}"))),
    };
    match (planned.take(), outcome) {
        (Some(plan), _) => Ok(plan),
        (None, Err(refusal)) => Err(refusal),
        (None, Ok(_)) => Ok(PlanReport { steps: Vec::new(), waits: false }),
    }
}

fn error(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::Rpc, code, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unknown(fault: CallError) -> WireError {
    error(ErrorCode::InvalidArg, &vfnet_model::explain(&fault))
}

fn no_plan(name: &str) -> WireError {
    error(ErrorCode::OperationUnsupported, &format!("{name} is not planned"))
}

/// Calls whose change goes by way of the engine, or that say themselves what they would do.
async fn libvirts(daemon: &Daemon, call: remote::Call) -> Outcome {
    use remote::Call as C;
    let has_a_plan = matches!(
        &call,
        C::NetworkDefineXml(..)
            | C::NetworkDefineXmlFlags(..)
            | C::NetworkCreateXml(..)
            | C::NetworkCreateXmlFlags(..)
            | C::NetworkCreate(..)
            | C::NetworkDestroy(..)
            | C::NetworkUndefine(..)
            | C::NetworkSetAutostart(..)
            | C::DomainDefineXml(..)
            | C::DomainDefineXmlFlags(..)
            | C::DomainCreateXml(..)
            | C::DomainCreate(..)
            | C::DomainCreateWithFlags(..)
            | C::DomainDestroy(..)
            | C::DomainDestroyFlags(..)
            | C::DomainUndefine(..)
            | C::DomainUndefineFlags(..)
            | C::DomainSetAutostart(..)
            | C::DomainShutdown(..)
            | C::DomainShutdownFlags(..)
            | C::DomainReboot(..)
            | C::DomainReset(..)
            | C::DomainSuspend(..)
            | C::DomainResume(..)
            | C::NodeDeviceDettach(..)
            | C::NodeDeviceDetachFlags(..)
            | C::NodeDeviceReAttach(..)
            | C::NodeDeviceReset(..)
    );
    if !has_a_plan {
        return Err(no_plan(call.facts().name));
    }
    // Never by way of the router, which would have the stock daemon make the change.
    upstream::is_ours(daemon, &call).await?;
    serve(daemon, call).await
}

async fn ours(daemon: &Daemon, call: vfnet::Call) -> Outcome {
    use vfnet::Call as C;
    Ok(match call {
        C::NetworkDestroyForced(name, a) => {
            let network = super::network::by_name(daemon, &name).await?;
            super::network::destroy(daemon, &network, true).await?;
            a.with(&own::json(&())?)
        }
        C::VfRestore(vf, a) => a.with(&own::json(&own::vf_restore(daemon, &vf).await?)?),
        C::PfDrain(args, a) => a.with(&own::json(&own::pf_drain(daemon, &args).await?)?),
        C::PfUndrain(pf, a) => a.with(&own::json(&own::pf_undrain(daemon, &pf).await?)?),
        C::PfSetVfs(args, a) => a.with(&own::json(&own::pf_set_vfs(daemon, &args, false).await?)?),
        C::PfKeepVfs(args, a) => a.with(&own::json(&own::pf_set_vfs(daemon, &args, true).await?)?),
        C::PfForgetVfs(pf, a) => a.with(&own::json(&own::pf_forget_vfs(daemon, &pf).await?)?),
        call => return Err(no_plan(call.facts().name)),
    })
}
