//! virsh, command by command and option by option, as transcripts in the folder `virsh`; the
//! table of `docs/virsh.md` is made from them.

mod commands;
mod other_commands;
mod transcript;

use std::process::Command;

use transcript::Transcript;

use crate::daemon::{Daemon, Ran};
use crate::{VIRSH, installed};

/// The virsh of Debian 12's backports.
const VERSION: &str = "11.3.";

/// A machine with one PF that has its seven VFs.
const WITH_VFS: &[&str] = &["--make=ens1f0=igb:7"];

/// As [`WITH_VFS`], with a second PF, whose VFs are made by networks.
const TWO_PFS: &[&str] = &["--make=ens1f0=igb:7", "--make=ens2f0=igb"];

/// As [`WITH_VFS`], with a second PF whose driver counts what VFs receive and send.
const ONE_COUNTS: &[&str] = &["--make=ens1f0=igb:7", "--make=ens2f0=ixgbe:2"];

/// Every transcript, and the machine that it is played over.
const TRANSCRIPTS: &[(&str, &[&str])] = &[
    ("lists", WITH_VFS),
    ("lifecycle", WITH_VFS),
    ("documents", WITH_VFS),
    ("metadata", WITH_VFS),
    ("update", WITH_VFS),
    ("ports", WITH_VFS),
    ("connections", WITH_VFS),
    ("events", WITH_VFS),
    ("node_devices", WITH_VFS),
    ("node_device_events", TWO_PFS),
    ("guest_lists", WITH_VFS),
    ("guest_life", WITH_VFS),
    ("guest_documents", WITH_VFS),
    ("guest_insides", ONE_COUNTS),
    ("guest_events", WITH_VFS),
    ("guest_devices", WITH_VFS),
    ("storage", WITH_VFS),
];

/// Whether the virsh is there that the transcripts are of: others have other options and words.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn is_ours() -> bool {
    if !installed(VIRSH) {
        return false;
    }
    let version: Ran = Command::new(VIRSH).arg("--version").output().expect("virsh runs").into();
    let ours = version.stdout.starts_with(VERSION);
    if !ours {
        println!("skipped: virsh is {}, not {VERSION}x", version.stdout.trim());
    }
    ours
}

/// Plays a transcript.
fn play(name: &str) {
    let (name, machine) = TRANSCRIPTS.iter().find(|(known, _)| *known == name).expect("listed");
    if is_ours() {
        Transcript::read(name).play(&Daemon::over(machine));
    }
}

#[test]
fn networks_are_listed_and_found() {
    play("lists");
}

#[test]
fn networks_are_defined_started_stopped_and_removed() {
    play("lifecycle");
}

#[test]
fn networks_documents_are_printed_and_edited() {
    play("documents");
}

#[test]
fn networks_are_described() {
    play("metadata");
}

#[test]
fn networks_are_updated_in_parts() {
    play("update");
}

#[test]
fn ports_are_made_shown_and_deleted() {
    play("ports");
}

#[test]
fn connections_are_made_by_every_name() {
    play("connections");
}

#[test]
fn what_happens_to_networks_is_told() {
    play("events");
}

#[test]
fn node_devices_are_shown_and_taken_from_their_drivers() {
    play("node_devices");
}

#[test]
fn what_happens_to_node_devices_is_told() {
    play("node_device_events");
}

#[test]
fn devices_come_to_guests_and_go_from_them() {
    play("guest_devices");
}

#[test]
fn directories_are_pools_and_their_files_are_volumes() {
    play("storage");
}

#[test]
fn guests_are_listed_and_found() {
    play("guest_lists");
}

#[test]
fn guests_are_defined_started_told_and_ended() {
    play("guest_life");
}

#[test]
fn guests_documents_are_printed_edited_and_changed_in_parts() {
    play("guest_documents");
}

#[test]
fn guests_agents_monitors_and_counters_are_asked() {
    play("guest_insides");
}

#[test]
fn what_happens_to_guests_is_told() {
    play("guest_events");
}

#[test]
fn the_document_lists_what_the_transcripts_show_and_they_show_all_that_virsh_has() {
    if is_ours() {
        let names: Vec<_> = TRANSCRIPTS.iter().map(|(name, _)| *name).collect();
        commands::check(&names);
    }
}

#[test]
fn every_other_command_ends_and_says_what_is_wrong() {
    if let Some(daemon) = Daemon::with_virsh() {
        other_commands::check(&daemon);
    }
}
