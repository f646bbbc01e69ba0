//! An order to start a guest, and what was started: enough to follow it, adopt it, and clean up
//! after it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use vfnet_engine::{Claim, ClaimState, GuestRun, Owner, State};
use vfnet_model::guest::{
    Attachment, Guest, Hypervisor, Interface, InterfaceSource, LiveGuest, Nvram,
};
use vfnet_model::network::Forward;
use vfnet_model::{NetdevName, NetworkName, explain};
use vfnet_qemu::command_line::{self, BeforeRun, Resolved};
use vfnet_qemu::launch::{Credentials, LaunchSpec};
use vfnet_qemu::{GuestError, RunDir, console, jail};

use super::Places;

/// What the engine has decided about a guest that is to be started, adopted or cleaned up after.
#[derive(Clone, Debug)]
pub struct LaunchOrder {
    /// The guest.
    pub run: GuestRun,
    claims: Vec<Claim>,
    bridges: BTreeMap<NetworkName, NetdevName>,
    paused: bool,
    fresh_nvram: bool,
}

/// What was started. Kept in the guest's run directory, for the next daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Launched {
    /// Version of the file. Absent, 0, it has no `record`. A field with a default does not raise
    /// it.
    #[serde(default)]
    version: u32,
    /// What was on record of it, should the record be lost.
    #[serde(default)]
    pub(super) record: Option<OnRecord>,
    /// The document with every device's alias and address.
    pub(super) guest: Guest,
    /// What it has besides.
    pub(super) live: LiveGuest,
    /// Whether it is to be left paused.
    pub(super) paused: bool,
    taps: Vec<NetdevName>,
    before_run: BeforeRun,
}

/// What the engine has on record of a guest when it is launched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OnRecord {
    pub(super) run: GuestRun,
    pub(super) claims: Vec<Claim>,
}

/// All that starting a guest takes.
pub(super) struct Start {
    pub(super) launched: Launched,
    pub(super) spec: LaunchSpec,
}

impl LaunchOrder {
    /// The order for a guest that is on record as starting or running.
    pub fn from_state(state: &State, guest: Uuid, paused: bool) -> Option<Self> {
        let run = state.runs.get(&guest)?.clone();
        let claims = state.claims_of(guest).cloned().collect();
        let bridges = state
            .live_networks
            .values()
            .filter_map(|live| match &live.definition.network.forward {
                Forward::Bridge(bridge) => Some((live.name().clone(), bridge.clone())),
                Forward::Hostdev(_) | Forward::Direct(_) => None,
            })
            .collect();
        Some(Self { run, claims, bridges, paused, fresh_nvram: false })
    }

    /// The same order, with UEFI variables made anew from their template.
    #[must_use]
    pub fn with_fresh_nvram(self) -> Self {
        Self { fresh_nvram: true, ..self }
    }

    /// Enough to clean up after a guest that is dead.
    pub fn of_the_dead(run: GuestRun) -> Self {
        let (claims, bridges) = (Vec::new(), BTreeMap::new());
        Self { run, claims, bridges, paused: false, fresh_nvram: false }
    }

    /// Decides how the guest is run, and makes the taps that it needs.
    pub(super) fn make_ready(
        &self,
        places: &Places,
        run_dir: &RunDir,
        uid: Option<u32>,
    ) -> Result<Start, String> {
        let (launched, plan) = self.plan(places, run_dir)?;
        if self.fresh_nvram
            && let Some(nvram) = &launched.guest.os.nvram
        {
            drop_variables(nvram)?;
        }
        make_taps(&launched.live.interfaces, owner_of_taps(uid))?;
        let kvm = (launched.guest.hypervisor == Hypervisor::Kvm).then(kvm_group).flatten();
        let log = vfnet_qemu::log::path(&places.logs, &self.run.definition.name, &self.run.guest);
        let spec =
            LaunchSpec::of(plan, log).map_err(|arg| format!("'{}' is not UTF-8", arg.display()))?;
        let tun = (!launched.taps.is_empty()).then(|| jail::TUN.into());
        let spec = LaunchSpec {
            credentials: uid.map(|uid| Credentials {
                uid,
                gid: uid,
                groups: kvm.into_iter().collect(),
            }),
            vfio_devices: self.vfio_devices(places),
            run: self.run.id,
            jail: places.jail,
            devices: spec.devices.into_iter().chain(tun).collect(),
            // It is VFIO that locks a guest's memory.
            memlock: spec.memlock.filter(|_| places.vfio.is_some()),
            ..spec
        };
        Ok(Start { launched, spec })
    }

    /// How the guest is run: as it was, where its document and its VFs are those that it was
    /// started with.
    pub(super) fn launched(&self, places: &Places, run_dir: &RunDir) -> Result<Launched, String> {
        self.plan(places, run_dir).map(|(launched, _)| launched)
    }

    fn plan(
        &self,
        places: &Places,
        run_dir: &RunDir,
    ) -> Result<(Launched, command_line::Plan), String> {
        let mut guest = vfnet_model::guest::parse(&self.run.definition.xml)
            .map_err(|fault| format!("its document is not understood any more: {fault}"))?;
        guest.emulator.get_or_insert_with(|| places.emulator.display().to_string());
        let interfaces = guest
            .interfaces
            .iter()
            .enumerate()
            .map(|(place, interface)| self.attachment(place, interface))
            .collect::<Result<Vec<_>, _>>()?;
        let resolved = Resolved {
            interfaces: &interfaces,
            qmp: &run_dir.qmp_socket(),
            run_dir: &run_dir.guest_dir(),
            spare_root_ports: places.spare_root_ports,
        };
        let plan = command_line::plan(&guest, resolved).map_err(|fault| explain(&fault))?;
        let record = OnRecord { run: self.run.clone(), claims: self.claims.clone() };
        let launched = Launched {
            version: Launched::VERSION,
            record: Some(record),
            guest: plan.guest.clone(),
            taps: taps(&interfaces),
            live: LiveGuest { id: self.run.id, interfaces, ..LiveGuest::default() },
            paused: self.paused,
            before_run: plan.before_run.clone(),
        };
        Ok((launched, plan))
    }

    /// Removes what was made for it on the host besides files, where nobody has said what that
    /// was: the taps that it would be given.
    pub(super) fn remove_taps_by_name(&self, owner: u32) {
        let Ok(guest) = vfnet_model::guest::parse(&self.run.definition.xml) else { return };
        let taps: Vec<_> = guest
            .interfaces
            .iter()
            .enumerate()
            .filter(|(_, interface)| !matches!(interface.source, InterfaceSource::Hostdev { .. }))
            .filter_map(|(place, interface)| self.tap(place, interface).ok())
            .collect();
        remove_taps(&taps, owner);
    }

    /// The `/dev/vfio/N` of a device of the guest's.
    pub(super) fn node(&self, places: &Places, device: &vfnet_engine::Device) -> Option<PathBuf> {
        let claim = self.claims.iter().find(|claim| device.owns(&claim.owner))?;
        match &claim.state {
            ClaimState::Held { group, .. } => Some(places.vfio.as_ref()?.join(group.to_string())),
            _ => None,
        }
    }

    /// Notes what is now on record of the guest, and a tap that is about to be made, in its run
    /// directory.
    pub(super) fn note_in(
        &self,
        run_dir: &RunDir,
        attachment: Option<&Attachment>,
    ) -> Result<(), String> {
        // Without a document that can be read, none of it would be believed.
        let Ok(mut launched) = Launched::load(run_dir) else { return Ok(()) };
        launched.record = Some(OnRecord { run: self.run.clone(), claims: self.claims.clone() });
        launched.taps.extend(attachment.map(std::slice::from_ref).map(taps).unwrap_or_default());
        launched.save(run_dir).map_err(|fault| format!("cannot note the device: {fault}"))
    }

    /// Makes the tap that a device needs, if it needs one.
    pub(super) fn make_tap(
        &self,
        attachment: Option<&Attachment>,
        uid: Option<u32>,
    ) -> Result<(), String> {
        let attachments = attachment.map(std::slice::from_ref).unwrap_or_default();
        make_taps(attachments, owner_of_taps(uid))
    }

    fn vfio_devices(&self, places: &Places) -> Vec<PathBuf> {
        let Some(vfio) = &places.vfio else { return Vec::new() };
        let groups = self.claims.iter().filter_map(|claim| match &claim.state {
            ClaimState::Held { group, .. } => Some(vfio.join(group.to_string())),
            _ => None,
        });
        let mut devices: Vec<_> = groups.collect();
        devices.sort();
        devices.dedup();
        devices
    }

    /// What an interface became: a VF, or a tap in a bridge.
    pub(super) fn attachment(
        &self,
        place: usize,
        interface: &Interface,
    ) -> Result<Attachment, String> {
        if interface.virtual_port.is_some() {
            let mac = interface.mac.map(|mac| mac.to_string()).unwrap_or_default();
            return Err(format!(
                "the <virtualport> of interface {mac} is for a switch to be told, which nobody \
                 here does"
            ));
        }
        let is_its = |claim: &&Claim| matches!(claim.owner, Owner::Nic { nic, .. } if nic == place);
        if let Some(claim) = self.claims.iter().find(is_its) {
            return Ok(Attachment::Vf {
                address: claim.vf,
                managed: claim.managed,
                model: claim.driver.clone(),
                vlan: claim.tag(),
            });
        }
        let bridge = match &interface.source {
            InterfaceSource::Bridge { bridge } => Some(bridge),
            InterfaceSource::Network { network, .. } => self.bridges.get(network),
            InterfaceSource::Hostdev { .. } => None,
        };
        let bridge =
            bridge.ok_or_else(|| format!("nothing was found for its interface {place}"))?;
        let tap = self.tap(place, interface)?;
        Ok(Attachment::Bridge { bridge: bridge.clone(), tap, port: None })
    }

    fn tap(&self, place: usize, interface: &Interface) -> Result<NetdevName, String> {
        match &interface.target {
            Some(tap) => Ok(tap.clone()),
            // Unique, because user ids are; short enough for the kernel's 15 bytes.
            None => format!("vfnet{}n{place}", self.run.uid_slot)
                .parse()
                .map_err(|fault: vfnet_model::names::BadName| fault.to_string()),
        }
    }
}

fn taps(interfaces: &[Attachment]) -> Vec<NetdevName> {
    interfaces.iter().filter_map(tap_of).cloned().collect()
}

/// The tap that an interface became, if it became one.
pub(super) fn tap_of(attachment: &Attachment) -> Option<&NetdevName> {
    match attachment {
        Attachment::Bridge { tap, .. } => Some(tap),
        Attachment::Vf { .. } => None,
    }
}

/// Makes the taps of a guest, all of them or none.
fn make_taps(interfaces: &[Attachment], owner: u32) -> Result<(), String> {
    let mut taps = Vec::new();
    for attachment in interfaces {
        let Attachment::Bridge { bridge, tap, .. } = attachment else { continue };
        if let Err(fault) = vfnet_host::tap::create(tap, owner, bridge) {
            remove_taps(&taps, owner);
            return Err(explain(&fault));
        }
        taps.push(tap.clone());
    }
    Ok(())
}

/// Whoever has taps that are made for a guest of this user id.
pub(super) fn owner_of_taps(uid: Option<u32>) -> u32 {
    uid.unwrap_or_else(|| rustix::process::getuid().as_raw())
}

/// Removes taps, and says which of them are not there any more.
pub(super) fn remove_taps(taps: &[NetdevName], owner: u32) -> Vec<NetdevName> {
    let is_gone = |tap: &&NetdevName| match vfnet_host::tap::remove(tap, owner) {
        Ok(()) => true,
        Err(fault) => {
            tracing::warn!("cannot remove {tap}: {}", explain(&fault));
            false
        }
    };
    taps.iter().filter(is_gone).cloned().collect()
}

/// The group that may open `/dev/kvm`; none where that is root's, which may open much more.
fn kvm_group() -> Option<u32> {
    std::fs::metadata("/dev/kvm").ok().map(|kvm| kvm.gid()).filter(|gid| *gid != 0)
}

impl Launched {
    const FILE: &str = "live.json";
    const VERSION: u32 = 1;

    /// Writes it down for the next daemon.
    pub(super) fn save(&self, run_dir: &RunDir) -> io::Result<()> {
        std::fs::create_dir_all(run_dir.path())?;
        let fresh = run_dir.path().join(".live.json.new");
        // It may hold a password.
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(&fresh, run_dir.path().join(Self::FILE))
    }

    /// What an earlier daemon wrote down.
    pub(super) fn load(run_dir: &RunDir) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            version: u32,
        }
        let bytes = std::fs::read(run_dir.path().join(Self::FILE))?;
        let Head { version } = serde_json::from_slice(&bytes)?;
        if version > Self::VERSION {
            let why = format!("{} has version {version}, a newer vfnetd's", Self::FILE);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }

    /// Says what a command line cannot say.
    pub(super) async fn before_run(&self, handle: &vfnet_qemu::Guest) -> Result<(), GuestError> {
        let before = &self.before_run;
        if let Some(password) = &before.vnc_password {
            let arguments = json!({ "protocol": "vnc", "password": password });
            handle.execute("set_password", arguments).await?;
        }
        for name in &before.links_down {
            handle.execute("set_link", json!({ "name": name, "up": false })).await?;
        }
        if let Some(bytes) = before.balloon {
            handle.execute("balloon", json!({ "value": bytes })).await?;
        }
        Ok(())
    }

    /// What QEMU chose by itself: pseudo-terminals, the port of VNC.
    pub(super) async fn look(&self, handle: &vfnet_qemu::Guest) -> Result<LiveGuest, GuestError> {
        let mut live = self.live.clone();
        for chardev in handle.chardevs().await? {
            if let (Some(alias), Some(pty)) =
                (chardev.label.strip_prefix("char"), chardev.filename.strip_prefix("pty:"))
                // Clients open what the document names, some of them as root.
                && console::is_pty_name(Path::new(pty))
            {
                live.ptys.insert(alias.to_owned(), pty.to_owned());
            }
        }
        if self.guest.vnc.is_some() {
            let answer = handle.execute("query-vnc", serde_json::Value::Null).await?;
            let service = answer["service"].as_str().and_then(|port| port.parse().ok());
            live.vnc_port = service;
        }
        Ok(live)
    }

    /// Removes what was made for it on the host besides files.
    pub(super) fn remove_taps(&self, owner: u32) {
        remove_taps(&self.taps, owner);
    }

    /// Notes in a guest's run directory that it does not have a device, nor these taps: whoever
    /// finds it without a record goes by that.
    pub(super) fn forget(
        run_dir: &RunDir,
        alias: &str,
        device: &vfnet_engine::Device,
        gone: &[NetdevName],
    ) -> io::Result<()> {
        let mut launched = Self::load(run_dir)?;
        if let Some(record) = &mut launched.record {
            record.claims.retain(|claim| !device.owns(&claim.owner));
            record.run.plugs.remove(alias);
        }
        launched.taps.retain(|tap| !gone.contains(tap));
        launched.save(run_dir)
    }
}

/// Removes UEFI variables, which the launcher then copies from their template. They stay where
/// there is none to be read.
fn drop_variables(nvram: &Nvram) -> Result<(), String> {
    let (Some(path), Some(template)) = (&nvram.path, &nvram.template) else {
        return Err("its UEFI variables have no template to be made anew from".to_owned());
    };
    std::fs::File::open(template)
        .map_err(|fault| format!("cannot read {template}, the template of {path}: {fault}"))?;
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {path}: {fault}"))
        }
        _ => Ok(()),
    }
}
