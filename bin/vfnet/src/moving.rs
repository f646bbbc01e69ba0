//! What became of each thing that is moved over, for people and for programs.

use std::path::PathBuf;

use serde::Serialize;

/// What is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Network,
    Guest,
    Port,
}

/// What was to be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Define,
    Start,
    Autostart,
    Reclaim,
    Export,
}

/// How that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Planned,
    Done,
    /// It was so already.
    Unchanged,
    /// Not for vfnet, which is no fault.
    Left,
    Refused,
}

/// One thing, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    pub(crate) outcome: Outcome,
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Why it was left or refused, or what is to be known of it.
    pub(crate) note: Option<String>,
    /// The file.
    pub(crate) file: PathBuf,
}

/// Everything that was moved, or is to be.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) dry_run: bool,
    pub(crate) items: Vec<Item>,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Guest => "guest",
            Self::Port => "port",
        }
    }
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Define => "define",
            Self::Start => "start",
            Self::Autostart => "autostart",
            Self::Reclaim => "reclaim",
            Self::Export => "export",
        }
    }
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Planned, Self::Done, Self::Unchanged, Self::Left, Self::Refused];

    const fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Left => "left",
            Self::Refused => "refused",
        }
    }
}

impl Report {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.items.iter().filter(|item| item.outcome == outcome).count()
    }

    /// A line for each thing, and one for all.
    pub(crate) fn view(&self) -> String {
        let mut text: String = self.items.iter().map(Item::line).collect();
        let counts: Vec<_> = Outcome::ALL
            .into_iter()
            .map(|outcome| (self.count(outcome), outcome.word()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if counts.is_empty() {
            text.push_str("Nothing found.\n");
        } else {
            text.push_str(&format!("{}.\n", counts.join(", ")));
        }
        text
    }
}

impl Item {
    fn line(&self) -> String {
        let (outcome, action, kind) = (self.outcome.word(), self.action.word(), self.kind.word());
        let mut line = format!("{outcome:<9}  {action} {kind} {}", self.name);
        if let Some(note) = &self.note {
            line.push_str(": ");
            line.push_str(note);
        }
        if self.outcome == Outcome::Refused {
            line.push_str(&format!("\n           {}", self.file.display()));
        }
        line.push('\n');
        line
    }
}
