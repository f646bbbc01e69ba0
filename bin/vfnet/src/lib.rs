//! The command line of vfnet: a client of the daemon's socket, and nothing else, but for `vfnet
//! state`, which is for when the daemon cannot start.
//!
//! It knows no more of the host than the daemon tells: libvirt's calls for networks and guests,
//! vfnet's own program for what libvirt has no call for. It blocks, does one thing, and ends.
//!
//! Read first: `options`, everything that can be asked for; `fault`, what can go wrong and
//! which exit code that is; `connection`, how the daemon is asked.

mod connection;
mod console;
mod events;
mod exec;
mod export;
mod fault;
mod guest;
mod host;
mod import;
mod layout;
mod moving;
mod net;
mod options;
mod progress;
mod screen;
mod state;
mod table;
mod topology;
mod views;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::connection::Connection;
use crate::fault::{CallFault, Fault};
use crate::options::{Command, Options};
use crate::screen::Screen;

/// The exit code of a command line that makes no sense.
const USAGE: u8 = 2;

/// The whole command line, for man pages.
pub fn command() -> clap::Command {
    Options::command()
}

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let code = match Options::try_parse() {
        Ok(options) => attempt(options),
        Err(usage) => {
            // Nothing is left to be told to whom neither help nor error can be shown.
            let _unseen = usage.print();
            if usage.use_stderr() { USAGE } else { 0 }
        }
    };
    ExitCode::from(code)
}

fn attempt(options: Options) -> u8 {
    let outcome = execute(options);
    match outcome {
        Ok(()) => 0,
        // `vfnet vf ls | head -1` has got what it wanted.
        Err(Fault::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(fault) => {
            let mut stderr = io::stderr().lock();
            let _unseen = stderr.write_all(fault.report().as_bytes());
            fault.exit_code()
        }
    }
}

fn execute(Options { socket, json, command }: Options) -> Result<(), Fault> {
    let screen = Screen::of_stdout(json);
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Options::command(), "vfnet", &mut script);
        return screen.show_bytes(&script);
    }
    if let Command::State(command) = command {
        return state::state(&screen, command);
    }
    let socket = socket.unwrap_or_else(|| {
        std::env::var_os("VFNET_SOCKET")
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| OsString::from(options::DEFAULT_SOCKET))
            .into()
    });
    let mut daemon = Connection::open(&socket, command.access())?;
    if command.only_plans() {
        daemon.only_plan();
    }
    let outcome = match command {
        Command::Doctor => host::doctor(daemon, &screen),
        Command::Status => host::status(daemon, &screen),
        Command::Pf(command) => host::pf(daemon, &screen, command),
        Command::Vf(command) => host::vf(daemon, &screen, command),
        Command::Port(command) => host::port(daemon, &screen, &command),
        Command::Net(command) => net::net(daemon, &screen, command),
        Command::Guest(command) => guest::guest(daemon, &screen, command),
        Command::Topology { all } => host::topology(daemon, &screen, all),
        Command::Exec(options) => exec::exec(daemon, options).map(|never| match never {}),
        Command::Events(options) => events::events(daemon, &screen, &options),
        Command::Export(options) => export::export(daemon, &screen, &options),
        Command::Import(options) => import::import(daemon, &screen, &options),
        Command::State(_) | Command::Completions { .. } => Ok(()),
    };
    match outcome {
        Err(Fault::Call { source: CallFault::Planned(plan), .. }) => {
            screen.report(&*plan, views::plan)
        }
        outcome => outcome,
    }
}
