//! QEMU's monitor, and the agent in the guest, as clients talk to them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use vfnet_rpc::error::{ErrorCode, WireError};
use vfnet_rpc::flags::{DOMAIN_QEMU_MONITOR_COMMAND_HMP, addresses_from};
use vfnet_rpc::objects::Domain;
use vfnet_rpc::qemu::{AgentCommandArgs, MonitorCommandArgs};
use vfnet_rpc::remote::{
    DomainInterface, DomainInterfaceAddressesArgs, DomainInterfaces, DomainIpAddress,
};
use vfnet_rpc::xdr::Text;

use super::super::{list, text};
use super::{by_uuid, error};
use crate::{Daemon, wire_error};

/// How long an agent may take where its client does not say.
const USUAL: Duration = Duration::from_secs(5);
/// How long it may take where its client waits for ever.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

fn object(command: &str, whose: &str) -> Result<Map<String, Value>, WireError> {
    serde_json::from_str(command).map_err(|fault| {
        let detail = format!("a command for {whose} is a JSON object: {fault}");
        wire_error::invalid(vfnet_rpc::error::ErrorDomain::Qemu, &detail)
    })
}

pub(super) async fn monitor(daemon: &Daemon, args: &MonitorCommandArgs) -> Result<Text, WireError> {
    let guest = by_uuid(daemon, args.domain.uuid).await?.uuid;
    let failed = |fault| wire_error::command(&fault);
    match args.flags {
        0 => {
            let object = object(&args.command, "QEMU")?;
            let answer = daemon.guests.monitor(guest, object).await.map_err(failed)?;
            Ok(text(answer.to_string()))
        }
        DOMAIN_QEMU_MONITOR_COMMAND_HMP => {
            let arguments = json!({ "command-line": &*args.command });
            let answer = daemon.guests.execute(guest, "human-monitor-command", arguments);
            Ok(text(answer.await.map_err(failed)?.as_str().unwrap_or_default()))
        }
        flags => {
            let detail = format!("flags {flags:#x} of a monitor command are not known");
            Err(error(ErrorCode::InvalidArg, &detail))
        }
    }
}

pub(super) async fn command(
    daemon: &Daemon,
    args: &AgentCommandArgs,
) -> Result<Option<Text>, WireError> {
    let guest = by_uuid(daemon, args.domain.uuid).await?.uuid;
    if args.flags != 0 {
        let detail = format!("flags {:#x} of an agent command are not known", args.flags);
        return Err(error(ErrorCode::InvalidArg, &detail));
    }
    let limit = match args.timeout {
        -2 => Some(FOR_EVER),
        -1 => Some(USUAL),
        0 => None,
        seconds => match u64::try_from(seconds) {
            Ok(seconds) => Some(Duration::from_secs(seconds).min(FOR_EVER)),
            Err(_) => {
                let detail = format!("a timeout of {seconds} seconds");
                return Err(error(ErrorCode::InvalidArg, &detail));
            }
        },
    };
    let command = Value::Object(object(&args.command, "the agent")?);
    let answer = daemon.guests.agent(guest, &command, limit).await;
    let answer = answer.map_err(|fault| wire_error::command(&fault))?;
    // Where no answer was waited for there is an empty one: without any, clients see an error.
    let answer = answer.map(|value| json!({ "return": value }).to_string());
    Ok(Some(text(answer.unwrap_or_default())))
}

/// The addresses of a guest's interfaces.
pub(super) async fn addresses(
    daemon: &Daemon,
    args: &DomainInterfaceAddressesArgs,
) -> Result<DomainInterfaces, WireError> {
    by_uuid(daemon, args.domain.uuid).await?;
    if daemon.guests.live(args.domain.uuid).is_none() {
        return Err(wire_error::command(&crate::guests::CommandError::NotRunning));
    }
    match args.source {
        // No network of vfnet's gives addresses away.
        addresses_from::LEASE => Ok(DomainInterfaces { interfaces: list(Vec::new()) }),
        addresses_from::AGENT => by_agent(daemon, &args.domain).await,
        _ => {
            let detail = "addresses are told by the agent in the guest (--source agent): the host \
                          does not see what a VF sends";
            Err(error(ErrorCode::ArgumentUnsupported, detail))
        }
    }
}

async fn by_agent(daemon: &Daemon, guest: &Domain) -> Result<DomainInterfaces, WireError> {
    let command = json!({ "execute": "guest-network-get-interfaces" });
    let answer = daemon.guests.agent(guest.uuid, &command, Some(USUAL)).await;
    let answer = answer.map_err(|fault| wire_error::command(&fault))?.unwrap_or_default();
    let nonsense = || {
        let detail = "the agent's answer to guest-network-get-interfaces has another shape";
        error(ErrorCode::InternalError, detail)
    };
    let interfaces = answer.as_array().ok_or_else(nonsense)?;
    let interfaces: Option<Vec<_>> = interfaces.iter().map(interface).collect();
    Ok(DomainInterfaces { interfaces: list(interfaces.ok_or_else(nonsense)?) })
}

fn interface(told: &Value) -> Option<DomainInterface> {
    let addresses = told["ip-addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let addresses: Option<Vec<_>> = addresses.iter().map(address).collect();
    Some(DomainInterface {
        name: text(told["name"].as_str()?),
        mac: told["hardware-address"].as_str().map(text),
        addresses: list(addresses?),
    })
}

fn address(told: &Value) -> Option<DomainIpAddress> {
    Some(DomainIpAddress {
        kind: i32::from(told["ip-address-type"].as_str()? == "ipv6"),
        address: text(told["ip-address"].as_str()?),
        prefix: u32::try_from(told["prefix"].as_u64()?).ok()?,
    })
}

/// A virtual CPU as the agent tells of it.
struct AgentVcpu {
    id: i64,
    online: bool,
    can_offline: bool,
}

async fn agent_vcpus(daemon: &Daemon, guest: &Domain) -> Result<Vec<AgentVcpu>, WireError> {
    by_uuid(daemon, guest.uuid).await?;
    let command = json!({ "execute": "guest-get-vcpus" });
    let answer = daemon.guests.agent(guest.uuid, &command, Some(USUAL)).await;
    let answer = answer.map_err(|fault| wire_error::command(&fault))?.unwrap_or_default();
    let vcpu = |told: &Value| {
        Some(AgentVcpu {
            id: told["logical-id"].as_i64()?,
            online: told["online"].as_bool()?,
            can_offline: told["can-offline"].as_bool().unwrap_or(false),
        })
    };
    let vcpus = answer.as_array().and_then(|told| told.iter().map(vcpu).collect());
    vcpus.ok_or_else(|| {
        let detail = "the agent's answer to guest-get-vcpus has another shape";
        error(ErrorCode::InternalError, detail)
    })
}

/// How many virtual CPUs the guest itself uses.
pub(super) async fn online_vcpus(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    let vcpus = agent_vcpus(daemon, guest).await?;
    let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
    Ok(i32::try_from(online).unwrap_or(i32::MAX))
}

/// Has the guest itself use so many virtual CPUs: the first ones that it can, and not the last.
pub(super) async fn set_online_vcpus(
    daemon: &Daemon,
    guest: &Domain,
    wanted: u32,
) -> Result<(), WireError> {
    let vcpus = agent_vcpus(daemon, guest).await?;
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
    let more = wanted >= online;
    let able: Vec<i64> = if more {
        vcpus.iter().filter(|vcpu| !vcpu.online).map(|vcpu| vcpu.id).collect()
    } else {
        let able = vcpus.iter().rev().filter(|vcpu| vcpu.online && vcpu.can_offline);
        able.map(|vcpu| vcpu.id).collect()
    };
    let change = wanted.abs_diff(online);
    let Some(chosen) = able.get(..change).filter(|_| wanted > 0) else {
        let detail = format!(
            "the guest uses {online} of its {} virtual CPUs, and cannot use {wanted}",
            vcpus.len()
        );
        return Err(error(ErrorCode::InvalidArg, &detail));
    };
    if chosen.is_empty() {
        return Ok(());
    }
    let each = chosen.iter().map(|id| json!({ "logical-id": id, "online": more }));
    let vcpus = Value::Array(each.collect());
    let command = json!({ "execute": "guest-set-vcpus", "arguments": { "vcpus": vcpus } });
    let answer = daemon.guests.agent(guest.uuid, &command, Some(USUAL)).await;
    let answer = answer.map_err(|fault| wire_error::command(&fault))?.unwrap_or_default();
    if answer.as_u64() == u64::try_from(change).ok() {
        return Ok(());
    }
    let detail = format!("of {change} virtual CPUs the agent has changed {answer}");
    Err(error(ErrorCode::OperationFailed, &detail))
}
