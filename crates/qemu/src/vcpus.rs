//! Virtual CPUs of a guest that runs: those that it has, and those that QEMU can give it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::guest::{Guest, GuestError};
use crate::plugging::Unplug;
use crate::qmp::QmpError;

/// Where QEMU shows what was given to it by an id.
const BY_ID: &str = "/machine/peripheral/";

/// Why a guest has not got as many virtual CPUs as it was to have.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// QEMU did not do it.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// QEMU keeps those that a guest has from its start.
    #[error("only virtual CPUs that came to the guest while it runs can be taken from it")]
    FromStart,
    /// The guest keeps one, for this reason.
    #[error("the guest keeps a virtual CPU: {0}")]
    Kept(String),
}

/// A place for a virtual CPU.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Slot {
    /// Socket, core, thread; as QEMU wants them back.
    props: Map<String, Value>,
    /// The driver of what goes there.
    r#type: String,
    /// Where that is, when there is one.
    qom_path: Option<String>,
}

impl Slot {
    fn place(&self) -> [u64; 4] {
        ["socket-id", "die-id", "core-id", "thread-id"]
            .map(|level| self.props.get(level).and_then(Value::as_u64).unwrap_or(0))
    }

    /// The id of one that came while the guest ran.
    fn id(&self) -> Option<&str> {
        self.qom_path.as_deref()?.strip_prefix(BY_ID)
    }
}

impl Guest {
    /// All places, in the order in which they are filled.
    async fn slots(&self) -> Result<Vec<Slot>, GuestError> {
        let command = "query-hotpluggable-cpus";
        let answer = self.execute(command, Value::Null).await?;
        let shape = || QmpError::Shape { command, answer: "no list of virtual CPUs".to_owned() };
        let mut slots = Vec::<Slot>::deserialize(answer).map_err(|_| shape())?;
        slots.sort_by_key(Slot::place);
        Ok(slots)
    }

    /// How many virtual CPUs it has.
    pub async fn vcpus(&self) -> Result<usize, GuestError> {
        Ok(self.slots().await?.iter().filter(|slot| slot.qom_path.is_some()).count())
    }

    /// Gives it virtual CPUs, or has it let go of some, each within `limit`, until it has `wanted`.
    ///
    /// # Errors
    ///
    /// When it has not; what has come or gone until then has.
    pub async fn set_vcpus(&self, wanted: usize, limit: Duration) -> Result<(), VcpuError> {
        let slots = self.slots().await?;
        let (there, free): (Vec<_>, Vec<_>) =
            slots.iter().enumerate().partition(|(_, slot)| slot.qom_path.is_some());
        for (place, slot) in free.into_iter().take(wanted.saturating_sub(there.len())) {
            let mut arguments = slot.props.clone();
            arguments.insert("driver".to_owned(), slot.r#type.clone().into());
            arguments.insert("id".to_owned(), format!("vcpu{place}").into());
            self.execute("device_add", Value::Object(arguments)).await?;
        }
        let surplus = there.len().saturating_sub(wanted);
        let ids: Vec<_> = there.iter().rev().filter_map(|(_, slot)| slot.id()).collect();
        if ids.len() < surplus {
            return Err(VcpuError::FromStart);
        }
        for id in ids.into_iter().take(surplus) {
            match self.unplug(id, limit, || false).await? {
                Unplug::Gone => {}
                Unplug::NotYet => {
                    return Err(VcpuError::Kept("it has not let go of it yet".to_owned()));
                }
                Unplug::Refused(why) => return Err(VcpuError::Kept(why)),
            }
        }
        Ok(())
    }
}
