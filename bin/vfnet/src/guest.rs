//! Commands about guests.

use std::thread;
use std::time::{Duration, Instant};

use vfnet_model::report::GuestReport;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::{self, domain_state};
use vfnet_rpc::objects::{Domain, ListArgs};
use vfnet_rpc::procedures::Procedure;
use vfnet_rpc::remote::{
    ConnectListAllDomains, DomainAutostartArgs, DomainCreateWithFlags, DomainCreateXml,
    DomainDefineXml, DomainDestroy, DomainFlags, DomainGetState, DomainGetXmlDesc, DomainReboot,
    DomainReset, DomainResume, DomainSetAutostart, DomainShutdown, DomainSuspend, DomainUndefine,
    DomainUndefineFlags, XmlFlags,
};
use vfnet_rpc::vfnet::GuestShow;

use crate::connection::{Connection, document};
use crate::console;
use crate::fault::{CallFault, Fault};
use crate::net::with_newline;
use crate::options::{GuestCommand, Listing};
use crate::progress::Waiting;
use crate::screen::Screen;
use crate::views::{self, GuestRow};

/// How often a guest that was asked to shut down is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn guest(
    mut daemon: Connection,
    screen: &Screen,
    command: GuestCommand,
) -> Result<(), Fault> {
    let connection = &mut daemon;
    match command {
        GuestCommand::Define(source) => {
            let xml = document(&source.file)?;
            let guest =
                connection.ask::<DomainDefineXml>(&xml).map_err(Fault::call("define the guest"))?;
            said(screen, &guest, "defined")
        }
        GuestCommand::Create { document: source, paused, console } => {
            let args = XmlFlags { xml: document(&source.file)?, flags: start_flags(paused) };
            let waiting = Waiting::until("starting the guest".to_owned());
            let guest =
                connection.ask::<DomainCreateXml>(&args).map_err(Fault::call("start the guest"))?;
            drop(waiting);
            started(daemon, screen, guest, console)
        }
        GuestCommand::Start { which, paused, console } => {
            let domain = connection.guest(&which.name)?;
            let fault = cannot("start", &domain);
            let waiting = Waiting::until(format!("starting guest {}", domain.name));
            let args = DomainFlags { domain, flags: start_flags(paused) };
            let guest = connection.ask::<DomainCreateWithFlags>(&args).map_err(fault)?;
            drop(waiting);
            started(daemon, screen, guest, console)
        }
        GuestCommand::Destroy(which) => {
            let guest = connection.guest(&which.name)?;
            let waiting = Waiting::until(format!("ending guest {}", guest.name));
            connection.ask::<DomainDestroy>(&guest).map_err(cannot("end", &guest))?;
            drop(waiting);
            said(screen, &guest, "ended")
        }
        GuestCommand::Shutdown { which, wait } => {
            let guest = connection.guest(&which.name)?;
            connection.ask::<DomainShutdown>(&guest).map_err(cannot("shut down", &guest))?;
            match wait {
                None => said(screen, &guest, "asked to shut down"),
                Some(seconds) => {
                    wait_for_end(connection, &guest, seconds)?;
                    said(screen, &guest, "shut down")
                }
            }
        }
        GuestCommand::Reboot(which) => {
            flagged::<DomainReboot>(connection, screen, &which.name, "reboot", "rebooted")
        }
        GuestCommand::Reset(which) => {
            flagged::<DomainReset>(connection, screen, &which.name, "reset", "reset")
        }
        GuestCommand::Suspend(which) => {
            plain::<DomainSuspend>(connection, screen, &which.name, "suspend", "suspended")
        }
        GuestCommand::Resume(which) => {
            plain::<DomainResume>(connection, screen, &which.name, "resume", "resumed")
        }
        GuestCommand::Undefine { which, nvram, keep_nvram } => {
            let flags = match (nvram, keep_nvram) {
                (true, _) => flags::DOMAIN_UNDEFINE_NVRAM,
                (_, true) => flags::DOMAIN_UNDEFINE_KEEP_NVRAM,
                _ => {
                    let name = &which.name;
                    return plain::<DomainUndefine>(
                        connection,
                        screen,
                        name,
                        "undefine",
                        "undefined",
                    );
                }
            };
            let domain = connection.guest(&which.name)?;
            let args = DomainFlags { domain: domain.clone(), flags };
            connection.ask::<DomainUndefineFlags>(&args).map_err(cannot("undefine", &domain))?;
            said(screen, &domain, "undefined")
        }
        GuestCommand::Ls(listing) => ls(connection, screen, &listing),
        GuestCommand::Show(which) => {
            let guest = connection.guest(&which.name)?;
            let doing = format!("show guest '{}'", guest.name);
            let report: GuestReport = connection.report::<GuestShow, _>(&guest.name, &doing)?;
            screen.report(&report, |report| views::guest(report, screen.width))
        }
        GuestCommand::Dumpxml { which, inactive } => {
            let domain = connection.guest(&which.name)?;
            let flags = if inactive { flags::DOMAIN_XML_INACTIVE } else { 0 };
            let fault = cannot("print the document of", &domain);
            let xml = connection
                .ask::<DomainGetXmlDesc>(&DomainFlags { domain, flags })
                .map_err(fault)?;
            screen.show(&with_newline(&xml))
        }
        GuestCommand::Autostart { which, disable } => {
            let domain = connection.guest(&which.name)?;
            let fault = cannot("set autostart of", &domain);
            let args =
                DomainAutostartArgs { domain: domain.clone(), autostart: i32::from(!disable) };
            connection.ask::<DomainSetAutostart>(&args).map_err(fault)?;
            let how = if disable { "no longer starts" } else { "starts" };
            said(screen, &domain, &format!("{how} with the host"))
        }
        GuestCommand::Console { which, force } => {
            let guest = connection.guest(&which.name)?;
            console::attach(daemon, guest, force)
        }
    }
}

fn start_flags(paused: bool) -> u32 {
    if paused { flags::DOMAIN_START_PAUSED } else { 0 }
}

fn cannot(verb: &str, guest: &Domain) -> impl FnOnce(CallFault) -> Fault + use<> {
    Fault::call(format!("{verb} guest '{}'", guest.name))
}

/// What is said of a guest that has been changed.
#[derive(Debug, serde::Serialize)]
struct Named<'a> {
    name: &'a str,
    uuid: uuid::Uuid,
    id: Option<i32>,
}

fn said(screen: &Screen, guest: &Domain, what: &str) -> Result<(), Fault> {
    let id = Some(guest.id).filter(|&id| id > 0);
    let named = Named { name: &guest.name, uuid: guest.uuid, id };
    screen.report(&named, |_| format!("guest {} {what}\n", guest.name))
}

fn started(daemon: Connection, screen: &Screen, guest: Domain, console: bool) -> Result<(), Fault> {
    said(screen, &guest, "started")?;
    if console { console::attach(daemon, guest, false) } else { Ok(()) }
}

fn plain<P: Procedure<Args = Domain, Reply = ()>>(
    daemon: &mut Connection,
    screen: &Screen,
    name: &str,
    verb: &str,
    done: &str,
) -> Result<(), Fault> {
    let guest = daemon.guest(name)?;
    daemon.ask::<P>(&guest).map_err(cannot(verb, &guest))?;
    said(screen, &guest, done)
}

fn flagged<P: Procedure<Args = DomainFlags, Reply = ()>>(
    daemon: &mut Connection,
    screen: &Screen,
    name: &str,
    verb: &str,
    done: &str,
) -> Result<(), Fault> {
    let domain = daemon.guest(name)?;
    let args = DomainFlags { domain: domain.clone(), flags: 0 };
    daemon.ask::<P>(&args).map_err(cannot(verb, &domain))?;
    said(screen, &domain, done)
}

fn wait_for_end(daemon: &mut Connection, guest: &Domain, seconds: u64) -> Result<(), Fault> {
    let _waiting = Waiting::until(format!("waiting for guest {} to shut down", guest.name));
    let begin = Instant::now();
    let limit = Duration::from_secs(seconds);
    let args = DomainFlags { domain: guest.clone(), flags: 0 };
    loop {
        match daemon.ask::<DomainGetState>(&args) {
            Ok(state) if state.state == domain_state::SHUTOFF => return Ok(()),
            Ok(_) => {}
            // One that is not kept is forgotten when it ends.
            Err(gone) if gone.code() == Some(ErrorCode::NoDomain) => return Ok(()),
            Err(other) => return Err(cannot("wait for", guest)(other)),
        }
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(Fault::StillRunning { guest: guest.name.to_string(), seconds });
        }
        thread::sleep(LOOK.min(left));
    }
}

fn ls(daemon: &mut Connection, screen: &Screen, listing: &Listing) -> Result<(), Fault> {
    let flags = match (listing.all, listing.inactive) {
        (true, _) => 0,
        (_, true) => flags::CONNECT_LIST_DOMAINS_INACTIVE,
        _ => flags::CONNECT_LIST_DOMAINS_ACTIVE,
    };
    let fault = || Fault::call("list guests");
    let listed = daemon
        .ask::<ConnectListAllDomains>(&ListArgs { need_results: 1, flags })
        .map_err(fault())?;
    let mut rows = Vec::new();
    for guest in listed.objects {
        match daemon.report::<GuestShow, GuestReport>(&guest.name, "list guests") {
            Ok(report) => rows.push(GuestRow {
                id: report.id,
                name: report.name.to_string(),
                uuid: report.uuid,
                state: report.state,
                persistent: report.persistent,
                autostart: report.autostart,
            }),
            // Gone since it was listed.
            Err(Fault::Call { source, .. }) if source.code() == Some(ErrorCode::NoDomain) => {}
            Err(other) => return Err(other),
        }
    }
    // Running ones first, in the order in which they were started.
    rows.sort_by(|a, b| (a.id.is_none(), a.id, &a.name).cmp(&(b.id.is_none(), b.id, &b.name)));
    screen.report(&rows, |rows| {
        if rows.is_empty() {
            listing.nothing("guests", "vfnet guest ls --all")
        } else {
            views::guests(rows, screen.width)
        }
    })
}
