//! What a running guest is told and asked besides being started and ended: nothing of it is on
//! record, because QEMU and the guest themselves know it.
//!
//! A reboot is a power-off after which QEMU stays (`set-action`), and is told to begin anew. QEMU
//! itself is the record of that: whoever finds one that has stayed, and whose document does not
//! want that, finishes the reboot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;
use vfnet_model::guest::{CharSource, Guest, OnPoweroff};
use vfnet_qemu::agent::{Agent, AgentError, CHANNEL};
use vfnet_qemu::{GuestError, RunState};

use super::{CommandError, Guests, Running};

/// How long an agent may take to say that it does not shut its system down; one that does says
/// nothing.
const NO_WORD: Duration = Duration::from_secs(3);

/// How long a guest may take to let go of a virtual CPU.
const VCPU_LIMIT: Duration = Duration::from_secs(5);

/// How long QEMU may take to end on SIGTERM where nothing harder may follow.
const GRACE: Duration = Duration::from_secs(15);

/// Wait between two looks at a QEMU that resets its machine, and how many of them.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 250;

/// What a running guest can be told without deciding anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestCommand {
    /// Press the power button. The guest may take its time.
    PowerOff,
    /// Have the agent in it shut it down.
    PowerOffByAgent,
    /// Press the power button, and the guest begins anew when it has shut down.
    Reboot,
    /// Have the agent in it reboot it.
    RebootByAgent,
    /// Press the reset button.
    Reset,
    /// Stop the processors.
    Suspend,
    /// Let them run again.
    Resume,
    /// Have QEMU end, and never kill it.
    Terminate,
}

impl GuestCommand {
    /// In words, before a guest's name.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PowerOff => "press the power button of",
            Self::PowerOffByAgent => "have the agent shut down",
            Self::Reboot => "press the power button, to begin anew, of",
            Self::RebootByAgent => "have the agent reboot",
            Self::Reset => "press the reset button of",
            Self::Suspend => "stop the processors of",
            Self::Resume => "let the processors run of",
            Self::Terminate => "send SIGTERM to",
        }
    }
}

impl Guests {
    /// Tells a running guest something.
    pub async fn command(&self, guest: Uuid, command: GuestCommand) -> Result<(), CommandError> {
        let running = self.one(guest)?;
        let handle = &running.handle;
        match command {
            GuestCommand::PowerOff => {
                running.after_poweroff(true).await?;
                handle.power_down().await?;
            }
            GuestCommand::Reboot => {
                running.after_poweroff(false).await?;
                handle.power_down().await?;
            }
            GuestCommand::PowerOffByAgent => {
                running.after_poweroff(true).await?;
                running.shut_down_by_agent("powerdown").await?;
            }
            GuestCommand::RebootByAgent => running.shut_down_by_agent("reboot").await?,
            GuestCommand::Reset => handle.reset().await?,
            GuestCommand::Suspend => handle.pause().await?,
            GuestCommand::Resume => handle.resume().await?,
            GuestCommand::Terminate => drop(handle.terminate(GRACE).await?),
        }
        Ok(())
    }

    /// Has QEMU carry out a command of its monitor.
    pub async fn execute(
        &self,
        guest: Uuid,
        command: &'static str,
        arguments: Value,
    ) -> Result<Value, CommandError> {
        Ok(self.one(guest)?.handle.execute(command, arguments).await?)
    }

    /// Gives a running guest virtual CPUs, or has it let go of some.
    pub async fn set_vcpus(&self, guest: Uuid, wanted: u32) -> Result<(), CommandError> {
        let running = self.one(guest)?;
        if running.document.guest.current_vcpus == wanted {
            return Ok(());
        }
        let turn = running.parts.turn();
        let _turn = turn.lock().await;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let outcome = running.handle.set_vcpus(wanted, VCPU_LIMIT).await;
        self.count_vcpus(guest, &running.handle).await;
        // What has come runs anywhere until it is told where.
        if let Err(why) = self.pin(&running.handle, &running.document.guest, running.uid).await {
            tracing::warn!(%guest, "{why}");
        }
        Ok(outcome?)
    }

    /// Shows of a running guest how many virtual CPUs it has; QEMU alone knows.
    pub(super) async fn count_vcpus(&self, guest: Uuid, handle: &vfnet_qemu::Guest) {
        let Ok(count) = handle.vcpus().await else { return };
        if let (Ok(count), Some(running)) = (u32::try_from(count), self.running().get_mut(&guest)) {
            running.document.guest.current_vcpus = count;
        }
    }

    /// Any object that is a command of the monitor, and QEMU's answer to it as it came.
    pub async fn monitor(
        &self,
        guest: Uuid,
        object: Map<String, Value>,
    ) -> Result<Value, CommandError> {
        Ok(match self.one(guest)?.handle.exchange(object).await? {
            Ok(value) => json!({ "return": value }),
            Err(refusal) => {
                json!({ "error": { "class": refusal.class, "desc": refusal.desc } })
            }
        })
    }

    /// Has the agent in a guest carry out a command; without a limit its answer is not waited for.
    pub async fn agent(
        &self,
        guest: Uuid,
        command: &Value,
        limit: Option<Duration>,
    ) -> Result<Option<Value>, CommandError> {
        let mut agent = self.one(guest)?.agent().await?;
        match limit {
            Some(limit) => Ok(Some(agent.execute(command, limit).await?)),
            None => Ok(agent.tell(command).await.map(|()| None)?),
        }
    }

    /// Whether the agent in a guest is there.
    pub async fn has_agent(&self, guest: Uuid) -> bool {
        match self.one(guest) {
            Ok(running) => running.agent_socket().await.is_ok(),
            Err(_) => false,
        }
    }

    pub(super) fn one(&self, guest: Uuid) -> Result<Running, CommandError> {
        self.running().get(&guest).cloned().ok_or(CommandError::NotRunning)
    }
}

/// What a guest has been told that its document does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// To begin anew when it has powered itself off.
    reboots: Arc<AtomicBool>,
}

impl Told {
    /// By an earlier daemon, nobody knows what.
    pub(super) fn by_somebody(guest: &Guest) -> Self {
        let may_stay = guest.on_poweroff == OnPoweroff::Preserve;
        Self { reboots: Arc::new(AtomicBool::new(!may_stay)) }
    }
}

impl Running {
    /// Says what QEMU does when the guest has powered itself off: end, or what else its document
    /// wants; or else stay, to be told to begin anew.
    pub(super) async fn after_poweroff(&self, as_documented: bool) -> Result<(), GuestError> {
        let preserve = self.document.guest.on_poweroff == OnPoweroff::Preserve;
        let action = if as_documented && !preserve { "poweroff" } else { "pause" };
        self.handle.execute("set-action", json!({ "shutdown": action })).await?;
        self.told.reboots.store(!as_documented, Ordering::Release);
        Ok(())
    }

    /// Whether a guest that has just powered itself off is to begin anew: QEMU has stayed, and not
    /// because its document wants that.
    pub(super) async fn has_to_boot_again(&self) -> bool {
        self.told.reboots.load(Ordering::Acquire)
            && matches!(self.handle.state().await, Ok(RunState::Shutdown))
    }

    /// Has a guest that has powered itself off begin anew.
    pub(super) async fn boot_again(&self) -> Result<(), GuestError> {
        self.handle.reset().await?;
        // Until the machine has been reset, QEMU does not let it run.
        for _look in 0..LOOKS {
            if self.handle.resume().await.is_ok() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.after_poweroff(true).await
    }

    /// Where the agent's channel is, when the agent has it open.
    async fn agent_socket(&self) -> Result<PathBuf, CommandError> {
        let mut channels = self.document.guest.channels.iter();
        let channel = channels.find(|channel| channel.name.as_deref() == Some(CHANNEL));
        let channel = channel.ok_or(CommandError::NoAgent)?;
        let CharSource::Unix { path: Some(path), listen: true } = &channel.source else {
            return Err(CommandError::NoAgent);
        };
        let label = format!("char{}", channel.placement.alias.as_deref().unwrap_or_default());
        let chardevs = self.handle.chardevs().await?;
        if !chardevs.iter().any(|chardev| chardev.label == label && chardev.frontend_open) {
            return Err(CommandError::AgentAway);
        }
        Ok(PathBuf::from(path))
    }

    async fn agent(&self) -> Result<Agent, CommandError> {
        static CONVERSATIONS: AtomicU32 = AtomicU32::new(1);
        let path = self.agent_socket().await?;
        let number = CONVERSATIONS.fetch_add(1, Ordering::Relaxed);
        Ok(Agent::connect(&path, self.handle.process(), number).await?)
    }

    async fn shut_down_by_agent(&self, mode: &str) -> Result<(), CommandError> {
        let command = json!({ "execute": "guest-shutdown", "arguments": { "mode": mode } });
        match self.agent().await?.execute(&command, NO_WORD).await {
            Ok(_) | Err(AgentError::Silent { .. } | AgentError::Closed) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}
