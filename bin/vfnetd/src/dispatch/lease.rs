//! VFs for processes of this host: `vfnet exec`.

use uuid::Uuid;
use vfnet_engine::{Answer, LeaseRequest, Lessee, Refusal, Request};
use vfnet_model::report::LeaseReport;
use vfnet_model::{MacAddress, NetworkName};
use vfnet_qemu::process_id::ProcessId;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::vfnet::LeaseArgs;

use crate::{Daemon, wire_error};

/// A name that fits a line.
const LONGEST_PROGRAM: usize = 255;

/// Lends the calling process a VF for as long as it lives. Which process that is, the kernel says.
pub(super) async fn lease(daemon: &Daemon, args: &LeaseArgs) -> Result<LeaseReport, WireError> {
    let invalid = |detail: &str| wire_error::invalid(ErrorDomain::Network, detail);
    let network: NetworkName = args.network.parse().map_err(|_| invalid("not a network's name"))?;
    let mac = match &args.mac {
        Some(text) => text
            .parse()
            .map_err(|fault: vfnet_model::mac::NotAMacAddress| invalid(&fault.to_string()))?,
        None => drawn_mac(daemon),
    };
    let program = args.program.to_string();
    if program.len() > LONGEST_PROGRAM || program.contains(char::is_control) {
        let detail = format!("a program's name is one line of at most {LONGEST_PROGRAM} bytes");
        return Err(invalid(&detail));
    }
    let portgroup = args.portgroup.as_ref().map(ToString::to_string);
    let lessee = caller(daemon, program)?;
    daemon.observer.look().await;
    let request = LeaseRequest { network: network.clone(), portgroup, mac, lessee };
    let refused = |refusal: Refusal| wire_error::refusal(ErrorDomain::Network, &refusal);
    match daemon.engine.ask(Request::Lease(Box::new(request))).await.map_err(refused)? {
        Answer::Leased { vf: address, group: vfio_group } => {
            Ok(LeaseReport { network, address, vfio_group, mac })
        }
        other => {
            let detail = format!("a lease was answered with {other:?}");
            Err(WireError::new(ErrorDomain::Network, ErrorCode::InternalError, &detail))
        }
    }
}

fn drawn_mac(daemon: &Daemon) -> MacAddress {
    daemon.config.mac_prefix.drawn(Uuid::new_v4().as_u64_pair().0)
}

fn caller(daemon: &Daemon, program: String) -> Result<Lessee, WireError> {
    let unknown = |why: &str| {
        let detail = format!("it cannot be known which process asks for a VF: {why}");
        WireError::new(ErrorDomain::Network, ErrorCode::OperationFailed, &detail)
    };
    let caller = daemon.caller.ok_or_else(|| unknown("the kernel does not say"))?;
    // 0 to the kernel is one that this PID namespace does not have.
    let pid = caller.pid().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| unknown("it is in another PID namespace"))?;
    let process = ProcessId::now(pid).map_err(|fault| unknown(&fault.to_string()))?;
    let process = process.ok_or_else(|| unknown("it has ended"))?;
    Ok(Lessee {
        program,
        pid: pid.unsigned_abs(),
        start_time: process.start_time,
        uid: caller.uid(),
        gid: caller.gid(),
    })
}
