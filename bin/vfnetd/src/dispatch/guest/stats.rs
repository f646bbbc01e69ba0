//! What guests have used and sent.

use serde_json::{Value, json};
use uuid::Uuid;
use vfnet_engine::{Owner, State};
use vfnet_host::Counters;
use vfnet_model::guest::{Attachment, DiskSource, Guest, Interface};
use vfnet_model::{MacAddress, PciAddress, explain};
use vfnet_rpc::error::{ErrorCode, WireError};
use vfnet_rpc::flags::{self as f, memory_stat as tag};
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{
    AllDomainStatsArgs, DomainInterfaceCounters, DomainInterfaceStatsArgs, DomainMemoryStat,
    DomainMemoryStatsArgs, DomainMemoryValues, DomainStats,
};
use vfnet_rpc::typed_params::{ParamValue, TypedParam};
use vfnet_rpc::xdr::List;

use super::super::{list, text};
use super::{by_uuid, error, lists, parsed, refused, states};
use crate::aside::aside;
use crate::guests::{CommandError, LiveDocument};
use crate::{Daemon, wire_error};

/// Groups of values that are told; of the others (perf, iothreads, …) a guest has none here.
const SERVED: u32 = f::DOMAIN_STATS_STATE
    | f::DOMAIN_STATS_CPU_TOTAL
    | f::DOMAIN_STATS_BALLOON
    | f::DOMAIN_STATS_VCPU
    | f::DOMAIN_STATS_INTERFACE
    | f::DOMAIN_STATS_BLOCK;

/// The filters of the list of guests, in the flags of statistics.
const FILTERS: [(u32, u32); 8] = [
    (1, f::CONNECT_LIST_DOMAINS_ACTIVE),
    (1 << 1, f::CONNECT_LIST_DOMAINS_INACTIVE),
    (1 << 2, f::CONNECT_LIST_DOMAINS_PERSISTENT),
    (1 << 3, f::CONNECT_LIST_DOMAINS_TRANSIENT),
    (1 << 4, f::CONNECT_LIST_DOMAINS_RUNNING),
    (1 << 5, f::CONNECT_LIST_DOMAINS_PAUSED),
    (1 << 6, f::CONNECT_LIST_DOMAINS_SHUTOFF),
    (1 << 7, f::CONNECT_LIST_DOMAINS_OTHER),
];

fn not_running() -> WireError {
    wire_error::command(&CommandError::NotRunning)
}

/// A running guest's memory, as its balloon and its process tell.
pub(super) async fn memory(
    daemon: &Daemon,
    args: &DomainMemoryStatsArgs,
) -> Result<DomainMemoryValues, WireError> {
    let guest = by_uuid(daemon, args.domain.uuid).await?;
    if daemon.guests.live(guest.uuid).is_none() {
        return Err(not_running());
    }
    let document = parsed(daemon, &guest).await?;
    let actual = states::balloon(daemon, &guest).await.unwrap_or(document.current_memory_kib);
    let mut values = vec![DomainMemoryStat { tag: tag::ACTUAL_BALLOON, value: actual }];
    values.extend(
        daemon.guests.resident(guest.uuid).map(|value| DomainMemoryStat { tag: tag::RSS, value }),
    );
    values.truncate(usize::try_from(args.room).unwrap_or(usize::MAX));
    Ok(DomainMemoryValues { values: list(values) })
}

/// What an interface, named by its MAC or its name on the host, has received and sent.
pub(super) async fn interface(
    daemon: &Daemon,
    args: &DomainInterfaceStatsArgs,
) -> Result<DomainInterfaceCounters, WireError> {
    let guest = by_uuid(daemon, args.domain.uuid).await?;
    let LiveDocument { guest: document, live } =
        daemon.guests.live(guest.uuid).ok_or_else(not_running)?;
    let wanted: Option<MacAddress> = args.device.parse().ok();
    let is_it = |(interface, became): &(&Interface, &Attachment)| {
        let tap = match became {
            Attachment::Bridge { tap, .. } => Some(tap.as_str()),
            Attachment::Vf { .. } => None,
        };
        (wanted.is_some() && interface.mac == wanted) || tap == Some(&*args.device)
    };
    let found = document.interfaces.iter().zip(&live.interfaces).find(is_it);
    let (_, became) = found.ok_or_else(|| {
        let detail = format!("the guest has no interface '{}'", &*args.device);
        wire_error::invalid(vfnet_rpc::error::ErrorDomain::Qemu, &detail)
    })?;
    let counters = counters(daemon, guest.uuid, became).await?;
    let wire =
        |count: Option<u64>| count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    Ok(DomainInterfaceCounters {
        rx_bytes: wire(counters.rx_bytes),
        rx_packets: wire(counters.rx_packets),
        rx_errors: wire(counters.rx_errors),
        rx_dropped: wire(counters.rx_dropped),
        tx_bytes: wire(counters.tx_bytes),
        tx_packets: wire(counters.tx_packets),
        tx_errors: wire(counters.tx_errors),
        tx_dropped: wire(counters.tx_dropped),
    })
}

/// What an interface has received and sent, as the guest sees it: of a VF its PF counts that,
/// where its driver does, of a tap the kernel, the other way round.
async fn counters(
    daemon: &Daemon,
    guest: Uuid,
    became: &Attachment,
) -> Result<Counters, WireError> {
    match became {
        Attachment::Vf { address, .. } => vf_counters(daemon, guest, *address).await,
        Attachment::Bridge { tap, .. } => {
            let tap = tap.clone();
            let counted = aside(move || vfnet_host::tap::counters(&tap)).await?;
            let counted =
                counted.map_err(|fault| error(ErrorCode::OperationFailed, &explain(&fault)))?;
            Ok(counted.from_the_other_end())
        }
    }
}

async fn vf_counters(daemon: &Daemon, guest: Uuid, vf: PciAddress) -> Result<Counters, WireError> {
    let claim = move |state: &State| {
        let its = |claim: &&vfnet_engine::Claim| {
            claim.vf == vf && matches!(claim.owner, Owner::Nic { guest: of, .. } if of == guest)
        };
        state.claims.values().find(its).map(|claim| (claim.pf, claim.index))
    };
    let (pf, index) =
        daemon.engine.read(claim).await.map_err(refused)?.ok_or_else(|| {
            error(ErrorCode::OperationFailed, &format!("{vf} is not the guest's"))
        })?;
    let host = std::sync::Arc::clone(&daemon.host);
    let counted = aside(move || host.vf_counters(pf, index)).await?;
    let counted = counted.map_err(|fault| error(ErrorCode::OperationFailed, &explain(&fault)))?;
    counted.ok_or_else(|| {
        let detail = format!(
            "the driver of PF {pf} does not count what its VF {vf} receives and sends; the guest \
             itself does (in it: ip -s link)"
        );
        error(ErrorCode::OperationUnsupported, &detail)
    })
}

/// Values of all guests that are asked for.
pub(super) async fn all(
    daemon: &Daemon,
    args: &AllDomainStatsArgs,
) -> Result<List<DomainStats, { vfnet_rpc::objects::OBJECTS_MAX }>, WireError> {
    let enforced = args.flags & f::CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS != 0;
    if let (true, unknown @ 1..) = (enforced, args.stats & !SERVED) {
        let detail = format!("statistics {unknown:#x} are not there");
        return Err(error(ErrorCode::ArgumentUnsupported, &detail));
    }
    let groups = if args.stats == 0 { SERVED } else { args.stats };
    let guests = if args.domains.is_empty() {
        let filters = FILTERS.iter().filter(|(flag, _)| args.flags & flag != 0);
        lists::all(daemon, filters.fold(0, |all, (_, filter)| all | filter)).await?
    } else {
        let mut guests = Vec::new();
        for guest in args.domains.iter() {
            guests.push(by_uuid(daemon, guest.uuid).await?);
        }
        guests
    };
    let mut all = Vec::new();
    for guest in guests {
        let mut params = Params::default();
        // One that has gone meanwhile is not told of.
        if of_guest(daemon, &guest, groups, &mut params).await.is_ok() {
            all.push(DomainStats { domain: guest, params: list(params.0) });
        }
    }
    Ok(list(all))
}

/// Values by name.
#[derive(Default)]
struct Params(Vec<TypedParam>);

impl Params {
    fn put(&mut self, field: impl AsRef<str>, value: ParamValue) {
        self.0.push(TypedParam { field: text(field), value });
    }

    fn int(&mut self, field: &str, value: i32) {
        self.put(field, ParamValue::Int(value));
    }

    fn count(&mut self, field: impl AsRef<str>, count: usize) {
        self.put(field, ParamValue::UInt(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    fn long(&mut self, field: impl AsRef<str>, value: Option<u64>) {
        if let Some(value) = value {
            self.put(field, ParamValue::ULong(value));
        }
    }
}

async fn of_guest(
    daemon: &Daemon,
    guest: &Domain,
    groups: u32,
    params: &mut Params,
) -> Result<(), WireError> {
    let is = |group: u32| groups & group != 0;
    let document = parsed(daemon, guest).await?;
    let live = daemon.guests.live(guest.uuid);
    if is(f::DOMAIN_STATS_STATE) {
        let state = states::state(daemon, guest).await?;
        params.int("state.state", state.state);
        params.int("state.reason", state.reason);
    }
    if is(f::DOMAIN_STATS_CPU_TOTAL)
        && let Some(times) = daemon.guests.cpu_times(guest.uuid)
    {
        params.long("cpu.time", Some(times.user.saturating_add(times.system)));
        params.long("cpu.user", Some(times.user));
        params.long("cpu.system", Some(times.system));
    }
    if is(f::DOMAIN_STATS_BALLOON) {
        if live.is_some() {
            let actual = states::balloon(daemon, guest).await;
            params.long("balloon.current", Some(actual.unwrap_or(document.current_memory_kib)));
        }
        params.long("balloon.maximum", Some(document.memory_kib));
        params.long("balloon.rss", daemon.guests.resident(guest.uuid));
    }
    if is(f::DOMAIN_STATS_VCPU) {
        vcpus(daemon, guest, &document, params).await;
    }
    if let Some(live) = live {
        if is(f::DOMAIN_STATS_INTERFACE) {
            interfaces(daemon, guest.uuid, &live, params).await;
        }
        if is(f::DOMAIN_STATS_BLOCK) {
            disks(daemon, guest.uuid, &live.guest, params).await;
        }
    }
    Ok(())
}

async fn vcpus(daemon: &Daemon, guest: &Domain, document: &Guest, params: &mut Params) {
    /// `VIR_VCPU_RUNNING`
    const RUNNING: i32 = 1;
    let [most, current] = [document.vcpus, document.current_vcpus]
        .map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let answer = daemon.guests.execute(guest.uuid, "query-cpus-fast", Value::Null).await;
    let answer = answer.unwrap_or_default();
    let there = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    params.count("vcpu.current", if there.is_empty() { current } else { there.len() });
    params.count("vcpu.maximum", most);
    for cpu in there {
        let (Some(index), Some(thread)) = (cpu["cpu-index"].as_u64(), cpu["thread-id"].as_i64())
        else {
            continue;
        };
        params.int(&format!("vcpu.{index}.state"), RUNNING);
        let times = daemon.guests.thread_times(guest.uuid, thread);
        let used = times.map(|times| times.user.saturating_add(times.system));
        params.long(format!("vcpu.{index}.time"), used);
    }
}

async fn interfaces(daemon: &Daemon, guest: Uuid, live: &LiveDocument, params: &mut Params) {
    params.count("net.count", live.live.interfaces.len());
    let all = live.guest.interfaces.iter().zip(&live.live.interfaces);
    for (place, (interface, became)) in all.enumerate() {
        let name = match became {
            Attachment::Bridge { tap, .. } => Some(tap.to_string()),
            // It has none on the host: the MAC is what `domifstat` finds it by.
            Attachment::Vf { .. } => interface.mac.map(|mac| mac.to_string()),
        };
        if let Some(name) = name {
            params.put(format!("net.{place}.name"), ParamValue::String(text(name)));
        }
        let Ok(counters) = counters(daemon, guest, became).await else { continue };
        let values = [
            ("rx.bytes", counters.rx_bytes),
            ("rx.pkts", counters.rx_packets),
            ("rx.errs", counters.rx_errors),
            ("rx.drop", counters.rx_dropped),
            ("tx.bytes", counters.tx_bytes),
            ("tx.pkts", counters.tx_packets),
            ("tx.errs", counters.tx_errors),
            ("tx.drop", counters.tx_dropped),
        ];
        for (field, value) in values {
            params.long(format!("net.{place}.{field}"), value);
        }
    }
}

async fn disks(daemon: &Daemon, guest: Uuid, document: &Guest, params: &mut Params) {
    const VALUES: [(&str, &str); 8] = [
        ("rd.reqs", "rd_operations"),
        ("rd.bytes", "rd_bytes"),
        ("rd.times", "rd_total_time_ns"),
        ("wr.reqs", "wr_operations"),
        ("wr.bytes", "wr_bytes"),
        ("wr.times", "wr_total_time_ns"),
        ("fl.reqs", "flush_operations"),
        ("fl.times", "flush_total_time_ns"),
    ];
    let answer = daemon.guests.execute(guest, "query-blockstats", json!({})).await;
    let answer = answer.unwrap_or_default();
    let told = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    params.count("block.count", document.disks.len());
    for (place, disk) in document.disks.iter().enumerate() {
        params.put(format!("block.{place}.name"), ParamValue::String(text(&disk.target)));
        if let Some(DiskSource::File(path) | DiskSource::Block(path)) = &disk.source {
            params.put(format!("block.{place}.path"), ParamValue::String(text(path)));
        }
        let Some(alias) = disk.placement.alias.as_deref() else { continue };
        // By the device's id, or where it is in the tree of QEMU's objects.
        let its = |stats: &&Value| {
            let device = stats["qdev"].as_str().unwrap_or_default();
            device == alias || device.split('/').any(|part| part == alias)
        };
        let Some(stats) = told.iter().find(its) else { continue };
        for (field, of_qemu) in VALUES {
            params.long(format!("block.{place}.{field}"), stats["stats"][of_qemu].as_u64());
        }
    }
}
