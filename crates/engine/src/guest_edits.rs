//! Changes of guests' documents that leave their devices as they are.

use uuid::Uuid;

use crate::decision::{Announcement, Turn};
use crate::input::{Answer, GuestEdit, Revision};
use crate::record::Entry;
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{GuestEntry, GuestRun};

impl Turn<'_> {
    /// Puts a changed document in the place of the running guest's, the kept one's, or both.
    pub(crate) fn guest_revise(&mut self, revision: Revision) -> Result<Option<Answer>, Refusal> {
        let Revision { guest, live, config, metadata } = revision;
        let name = match self.state.guest(guest) {
            Some(def) => def.name.clone(),
            None => {
                let message = format!("no guest with matching uuid '{guest}'");
                return Err(Refusal::new(RefusalKind::NoGuest, message));
            }
        };
        let kept = self.state.guests.get(&guest).cloned();
        let run = self.state.runs.get(&guest).cloned();
        self.same(config.as_ref(), kept.as_ref().map(|entry| entry.definition.xml.as_str()))?;
        self.same(live.as_ref(), run.as_ref().map(|run| run.definition.xml.as_str()))?;
        let id = run.as_ref().map_or(-1, |run| run.id);
        if let (Some(edit), Some(entry)) = (config, kept) {
            self.put(Entry::Guest(GuestEntry { definition: edit.after, ..entry }));
        }
        if let (Some(edit), Some(run)) = (live, run) {
            self.put(Entry::Run(GuestRun { definition: edit.after, ..run }));
        }
        if let Some(what) = metadata {
            self.announce(Announcement::GuestMetadataChanged(guest, name, id, what));
        }
        Ok(Some(Answer::Done))
    }

    /// Refuses to put a document in the place of another one than it was made from.
    fn same(&self, edit: Option<&GuestEdit>, now: Option<&str>) -> Result<(), Refusal> {
        match edit {
            Some(edit) if now != Some(edit.before.as_str()) => {
                let message = "the guest's document was changed meanwhile";
                Err(Refusal::new(RefusalKind::ChangedMeanwhile, message).hint("try again"))
            }
            _ => Ok(()),
        }
    }

    /// The client that a guest was to end with is gone, as all are when the daemon is.
    pub(crate) fn ends_with_its_client(&self, guest: Uuid) -> bool {
        self.state.runs.get(&guest).is_some_and(|run| run.autodestroy)
    }
}
