//! `vfnet events`: what has happened lately, and what happens from now on.

use vfnet_model::event::{Event, Events, Severity};
use vfnet_model::legible;
use vfnet_rpc::vfnet::{Events as Ask, EventsArgs};

use crate::connection::Connection;
use crate::fault::Fault;
use crate::options::EventsOptions;
use crate::screen::Screen;

/// Prints events until there are no more, or for ever.
pub(crate) fn events(
    mut daemon: Connection,
    screen: &Screen,
    options: &EventsOptions,
) -> Result<(), Fault> {
    let mut past = known(&mut daemon)?;
    let mut after = past.last().map_or(0, |last| last.number);
    let lines = options.lines.map_or(past.len(), |lines| usize::from(lines).min(past.len()));
    for event in past.split_off(past.len() - lines) {
        print(screen, &event)?;
    }
    if options.no_follow {
        return Ok(());
    }
    loop {
        let Events { missed, events } = ask(&mut daemon, after, true)?;
        if missed > 0 {
            return Err(Fault::EventsMissed(missed));
        }
        for event in events {
            after = event.number;
            print(screen, &event)?;
        }
    }
}

/// All that the daemon has kept.
fn known(daemon: &mut Connection) -> Result<Vec<Event>, Fault> {
    let mut known: Vec<Event> = Vec::new();
    loop {
        let after = known.last().map_or(0, |last| last.number);
        let Events { events, .. } = ask(daemon, after, false)?;
        if events.is_empty() {
            return Ok(known);
        }
        known.extend(events);
    }
}

fn ask(daemon: &mut Connection, after: u64, wait: bool) -> Result<Events, Fault> {
    daemon.report::<Ask, _>(&EventsArgs { after, wait }, "ask for events")
}

fn print(screen: &Screen, event: &Event) -> Result<(), Fault> {
    screen.line(event, |event| line(event, screen.colour))
}

/// One line of text.
fn line(event: &Event, colour: bool) -> String {
    let (word, code) = match event.severity {
        Severity::Info => ("info", "0"),
        Severity::Warning => ("warning", "33"),
        Severity::Error => ("error", "31"),
    };
    let word = format!("{word:7}");
    let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word };
    let text = legible(&event.text).replace('\n', " ");
    format!("{}  {word}  {text}\n", legible(&event.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_quoted_in_it() {
        let mut event = Event {
            number: 1,
            time: "2026-02-28T23:59:59Z".into(),
            event: "vf-repaired".into(),
            severity: Severity::Warning,
            vf: "0000:01:10.1".parse().ok(),
            guest: None,
            network: None,
            port: None,
            text: "0000:01:10.1: changed by somebody else".into(),
        };
        assert_eq!(
            line(&event, false),
            "2026-02-28T23:59:59Z  warning  0000:01:10.1: changed by somebody else\n"
        );
        event.text = "a\nb\x1b[2J".into();
        assert_eq!(line(&event, false).lines().count(), 1);
        assert!(!line(&event, false).contains('\x1b'));
    }
}
