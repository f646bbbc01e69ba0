//! Plans: what a request would come to, without doing it.
//!
//! The engine has no I/O, so a plan is the decision itself, made on a copy of the state. Its effects
//! are told instead of carried out, and what is hoped of each (ready, granted, back as it was) goes
//! in as the next input, until the request is answered. What would be refused is refused, in the
//! same words.

use std::collections::VecDeque;

use vfnet_model::inventory::{Incarnation, Vf};
use vfnet_model::vf::{Binding, Original, VfIndex, WantedSettings};
use vfnet_model::{DriverName, PciAddress};

use crate::Engine;
use crate::claim::{Claim, Owner};
use crate::decision::{Decision, Effect, NetworkHook};
use crate::input::{Answer, Ended, GivenBack, HeldBy, Input, Request, Ticket};
use crate::record::{Entry, Record};
use crate::refusal::Refusal;
use crate::state::{Phase, State};

/// Who asks for a plan: nobody else has this ticket.
const PLANNER: Ticket = Ticket(u64::MAX);

/// Inputs after which a plan is long enough: a guest has no more VFs than that.
const LONGEST: usize = 4096;

/// What a request would come to.
#[derive(Debug)]
pub struct Plan {
    /// What would be decided, in order. The first is what the request itself would come to, the
    /// others follow from how its effects are hoped to end.
    pub decisions: Vec<Decision>,
    /// The same in words.
    pub steps: Vec<Step>,
    /// What the request would be answered with; `None` where that waits for what is under way
    /// already.
    pub answer: Option<Answer>,
}

/// One thing that would be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What sort of thing.
    pub does: Doing,
    /// The VF that it is done to.
    pub vf: Option<PciAddress>,
    /// In words.
    pub says: String,
}

/// What sort of thing a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Who would be hit.
    Hits,
    /// Something is written down.
    Records,
    /// Hook scripts are called.
    CallsHooks,
    /// VFs are made or taken away.
    MakesVfs,
    /// A VF is made ready for its holder.
    Prepares,
    /// A VF is given back.
    GivesBack,
    /// A VF is reset.
    Resets,
    /// A process is started.
    Starts,
    /// A process is ended.
    Ends,
}

impl Doing {
    /// One word for tables and programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hits => "hit",
            Self::Records => "record",
            Self::CallsHooks => "hook",
            Self::MakesVfs => "vfs",
            Self::Prepares => "prepare",
            Self::GivesBack => "give-back",
            Self::Resets => "reset",
            Self::Starts => "start",
            Self::Ends => "end",
        }
    }
}

impl State {
    /// What a request would come to now. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The refusal that the request would meet, also where it is met only after something was
    /// done.
    pub fn plan(&self, request: Request) -> Result<Plan, Refusal> {
        let mut steps = self.hit_by(&request);
        let mut engine = Engine { state: self.clone() };
        let mut inputs = VecDeque::from([Input::Ask(PLANNER, request)]);
        let mut decisions = Vec::new();
        let mut answer = None;
        while let Some(input) = inputs.pop_front()
            && decisions.len() < LONGEST
        {
            let decision = engine.decide(input);
            let state = &engine.state;
            steps.extend(decision.records.iter().filter_map(|record| recorded(record, &decision)));
            for effect in &decision.effects {
                steps.extend(told(state, effect));
                match effect {
                    Effect::Answer(PLANNER, reply) => answer = Some(reply.clone()?),
                    Effect::AskAgain(PLANNER, request) => {
                        inputs.push_back(Input::Ask(PLANNER, (**request).clone()));
                    }
                    effect => inputs.extend(hoped(state, effect)),
                }
            }
            let made = decision.effects.iter().filter_map(|effect| match effect {
                Effect::MakeVfs { pf, count, .. } => Some((*pf, *count)),
                _ => None,
            });
            for (pf, count) in made {
                suppose_made(&mut engine.state, pf, count);
            }
            decisions.push(decision);
        }
        Ok(Plan { decisions, steps, answer })
    }

    /// Who would be hit by what is not refused.
    fn hit_by(&self, request: &Request) -> Vec<Step> {
        let hits = |says| Step { does: Doing::Hits, vf: None, says };
        match request {
            Request::NetworkDestroy { network, force: true } => {
                let hit = self.hit_with_network(*network);
                let says = format!("these keep what they have, and run on: {hit}");
                if hit.is_empty() { Vec::new() } else { vec![hits(says)] }
            }
            Request::PfSetVfs { pf, .. } => {
                let of = self.live_networks.values().filter(|live| self.lends_pf(live, *pf));
                let says = |name| format!("network {name} lends the VFs that there are then");
                of.map(|live| hits(says(live.name()))).collect()
            }
            Request::GuestDestroy(guest) => match self.runs.get(guest) {
                Some(run) if run.pid.is_some() => {
                    vec![hits(format!(
                        "guest {} ends as if its power were cut",
                        run.definition.name
                    ))]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

/// How an effect is hoped to end.
fn hoped(state: &State, effect: &Effect) -> Option<Input> {
    Some(match effect {
        Effect::Prepare(id) => {
            let claim = state.claims.get(id)?;
            let driver = claim.driver.clone().or_else(|| "vfio-pci".parse().ok())?;
            let group = claim.iommu_group.unwrap_or_default();
            Input::Prepared(*id, Ok(HeldBy { driver, group }))
        }
        Effect::HandOver(id) => Input::HandedOver(*id, Ok(())),
        Effect::BeginLease(id) => Input::LeaseBegun(*id, Ok(())),
        Effect::GiveBack(claim) => Input::GivenBack {
            claim: *claim,
            outcome: GivenBack::Clean,
            seen: None,
            at: state.last_look,
        },
        Effect::Reset(id) => {
            let at = state.last_look;
            Input::WasReset { claim: *id, outcome: Ok(()), seen: None, at }
        }
        Effect::MakeVfs { network, pf, .. } => Input::VfsMade(*network, *pf, Ok(())),
        Effect::SetVfs { pf, .. } => Input::VfsSet(*pf, Ok(())),
        Effect::CallHook(hook @ (NetworkHook::Start | NetworkHook::Started), live) => {
            Input::HookRan { network: live.uuid, hook: *hook, outcome: Ok(()) }
        }
        Effect::Launch { guest, .. } => Input::Launched(*guest, Ok(0)),
        Effect::Kill(guest) => Input::GuestEnded(*guest, Ended::Destroyed),
        // Of another request, of none, or not waited for.
        _ => return None,
    })
}

/// Has a copy of the state go by a PF having made its VFs. One stands for all of them: where they
/// will be only the kernel knows.
fn suppose_made(state: &mut State, pf: PciAddress, count: u16) {
    if let Some(found) = state.inventory.pfs.get_mut(&pf) {
        found.num_vfs = count;
    }
    let places = (0..=u8::MAX).map(|place| (place / 8, place % 8));
    let mut free = places
        .filter_map(|(slot, function)| PciAddress::new(pf.domain(), pf.bus(), slot, function).ok())
        .filter(|at| {
            !state.inventory.vfs.contains_key(at) && !state.inventory.pfs.contains_key(at)
        });
    if let Some(address) = free.next() {
        let vf = Vf {
            address,
            pf,
            index: VfIndex(0),
            incarnation: Incarnation(0),
            id: (0, 0),
            binding: Binding::default(),
            iommu_group: None,
            numa_node: None,
            netdev: None,
            attributes: None,
            uses: Vec::new(),
        };
        state.inventory.vfs.insert(address, vf);
    }
}

/// An effect in words; nothing for what is only said to somebody.
fn told(state: &State, effect: &Effect) -> Vec<Step> {
    let step = |does, says| vec![Step { does, vf: None, says }];
    let name = |guest| state.guest(guest).map_or_else(String::new, |def| def.name.to_string());
    match effect {
        Effect::Prepare(id) => on_vf(state, *id, Doing::Prepares, prepared),
        Effect::HandOver(id) => on_vf(state, *id, Doing::Prepares, handed_over),
        Effect::GiveBack(id) => on_vf(state, *id, Doing::GivesBack, given_back),
        Effect::Reset(id) => {
            on_vf(state, *id, Doing::Resets, |_, claim| (format!("reset {}", claim.vf), None))
        }
        Effect::MakeVfs { pf, count, .. } | Effect::SetVfs { pf, count } => {
            let shown = state.shown_pf(*pf);
            let now = state.inventory.pfs.get(pf).map_or(0, |pf| pf.num_vfs);
            let says = match (now, count) {
                (0, _) => format!("have PF {shown} make {count} VFs"),
                (_, 0) => format!("take away the {now} VFs of PF {shown}"),
                _ => format!("take away the {now} VFs of PF {shown}, and have it make {count}"),
            };
            step(Doing::MakesVfs, says)
        }
        Effect::CallHook(hook, live) => {
            let moment = match hook {
                NetworkHook::Start => "start",
                NetworkHook::Started => "started",
                NetworkHook::Updated => "updated",
                NetworkHook::Stopped => "stopped",
            };
            step(
                Doing::CallsHooks,
                format!("call the hook scripts of network {}: {moment}", live.name()),
            )
        }
        Effect::Launch { guest, paused, fresh_nvram } => {
            let paused = if *paused { ", and leave it paused" } else { "" };
            let fresh = if *fresh_nvram { ", with its UEFI variables made anew" } else { "" };
            let what = format!("start the process of guest {}{fresh}{paused}", name(*guest));
            step(Doing::Starts, what)
        }
        Effect::Kill(guest) => {
            step(Doing::Ends, format!("end the process of guest {}", name(*guest)))
        }
        _ => Vec::new(),
    }
}

/// What is done to a claim's VF, and which event its port's hook scripts are then called with.
fn on_vf(
    state: &State,
    id: crate::ClaimId,
    does: Doing,
    words: fn(&State, &Claim) -> (String, Option<&'static str>),
) -> Vec<Step> {
    let Some(claim) = state.claims.get(&id) else { return Vec::new() };
    let (says, event) = words(state, claim);
    let mut steps = vec![Step { does, vf: Some(claim.vf), says }];
    if let (true, Some(of), Some(event)) = (state.hooks, &claim.network, event) {
        let says = format!("call the hook scripts of network {}: {event}", of.name);
        steps.push(Step { does: Doing::CallsHooks, vf: Some(claim.vf), says });
    }
    steps
}

fn prepared(state: &State, claim: &Claim) -> (String, Option<&'static str>) {
    let vf = claim.vf;
    let mut says = format!("make {vf} (VF {} of PF {})", claim.index, state.shown_pf(claim.pf));
    says.push_str(&match &claim.owner {
        Owner::Nic { name, nic, .. } => format!(" ready for interface {} of guest {name}", nic + 1),
        Owner::Hostdev { name, hostdev, .. } => {
            format!(" ready for hostdev {} of guest {name}", hostdev + 1)
        }
        owner => format!(" ready for {owner}"),
    });
    if let Some(wanted) = &claim.wanted {
        says.push_str(&format!(": {}", settings(wanted)));
    }
    if claim.managed {
        let to = claim.driver.as_ref().map_or("the VFIO driver for it", DriverName::as_str);
        says.push_str(&format!("; bind it to {to}"));
        let now = state.inventory.vfs.get(&vf).and_then(|vf| vf.binding.driver.as_ref());
        if let Some(now) = now {
            says.push_str(&format!(", from {now}"));
        }
    }
    (says, Some("port-created"))
}

fn handed_over(_: &State, claim: &Claim) -> (String, Option<&'static str>) {
    let says = format!("make {} ready for {}, whose daemon binds it", claim.vf, claim.owner);
    (says, Some("port-created"))
}

fn given_back(_: &State, claim: &Claim) -> (String, Option<&'static str>) {
    let how = match &claim.original {
        Original::Unknown => "as its driver's baseline has it".to_owned(),
        Original::Known(original) => match &original.binding.driver {
            _ if !claim.managed => "as it was".to_owned(),
            Some(driver) => format!("as it was, on {driver}"),
            None => "as it was, without a driver".to_owned(),
        },
    };
    (format!("give {} back to the host, {how}", claim.vf), Some("port-deleted"))
}

fn settings(wanted: &WantedSettings) -> String {
    let on = |name: &str, set: Option<bool>| {
        set.map(|set| format!("{name} {}", if set { "on" } else { "off" }))
    };
    let all = [
        Some(format!("MAC {}", wanted.mac)),
        wanted.vlan.map(|vlan| format!("VLAN {}", vlan.id)),
        on("spoofchk", wanted.spoofchk),
        on("trust", wanted.trust),
        wanted.link_state.map(|state| format!("link state {}", state.name())),
        wanted.rate.map(|(min, max)| format!("rate {min} to {max} Mbit/s")),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A record in words; `None` for what is kept for vfnet itself.
fn recorded(record: &Record, decision: &Decision) -> Option<Step> {
    let (says, vf) = match record {
        Record::Put(entry) => put(entry)?,
        Record::Drop(key) => dropped(decision.before(*key)?)?,
    };
    Some(Step { does: Doing::Records, vf, says })
}

fn put(entry: &Entry) -> Option<(String, Option<PciAddress>)> {
    let kept = |what: &str, name: &dyn std::fmt::Display, autostart: bool| {
        let with_host = if autostart { ", and starts with the host" } else { "" };
        format!("{what} {name} is kept{with_host}")
    };
    let mut vf = None;
    let says = match entry {
        Entry::Network(it) => kept("network", &it.definition.network.name, it.autostart),
        Entry::Guest(it) => kept("guest", &it.definition.name, it.autostart),
        Entry::Drain(drain) => format!("PF {} is drained, over reboots too", drain.pf),
        Entry::LiveNetwork(live) => format!("network {} is active", live.name()),
        Entry::Run(run) => {
            let phase = match run.phase {
                Phase::Preparing => "its VFs are being prepared",
                Phase::Launching => "its process is being started",
                Phase::Running => "it runs",
                Phase::Paused => "it stands still",
                Phase::ShuttingDown => "it has been asked to power off",
                Phase::Ending => "it ends",
            };
            format!("guest {}: {phase}", run.definition.name)
        }
        Entry::Claim(claim) => {
            vf = Some(claim.vf);
            format!("{} {}", claim.vf, claim.why_taken())
        }
        Entry::BridgePort(port) => format!("port {} on bridge {}", port.port, port.bridge),
        Entry::Edit(edit) => format!("a change of network {}", edit.live.name()),
        _ => return None,
    };
    Some((says, vf))
}

fn dropped(before: &Entry) -> Option<(String, Option<PciAddress>)> {
    let mut vf = None;
    let says = match before {
        Entry::Network(it) => format!("network {} is forgotten", it.definition.network.name),
        Entry::Guest(it) => format!("guest {} is forgotten", it.definition.name),
        Entry::Drain(drain) => format!("PF {} is not drained", drain.pf),
        Entry::LiveNetwork(live) => format!("network {} is not active", live.name()),
        Entry::Run(run) => format!("guest {} does not run", run.definition.name),
        Entry::Claim(claim) => {
            vf = Some(claim.vf);
            format!("{} is free", claim.vf)
        }
        Entry::BridgePort(port) => format!("port {} is gone", port.port),
        _ => return None,
    };
    Some((says, vf))
}
