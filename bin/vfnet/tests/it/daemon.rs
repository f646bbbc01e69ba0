//! A daemon of a few lines: one network, one running guest, one guest that cannot be started.
//! One thread per connection; nothing that clients do changes it.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;
use uuid::Uuid;
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{self, domain_state};
use vfnet_rpc::frame::FrameDecoder;
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::{Domain, Listed, Network};
use vfnet_rpc::procedures::Payload;
use vfnet_rpc::remote::{AuthType, Call, DomainState};
use vfnet_rpc::server::Incoming;
use vfnet_rpc::stream::StreamPart;
use vfnet_rpc::vfnet;
use vfnet_rpc::xdr::{List, Text};

pub(crate) const WEB1: Uuid = Uuid::from_u128(0xc3);

/// A listening daemon; its sockets are gone when this is dropped.
pub(crate) struct Daemon {
    dir: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let daemon = Self { dir: TempDir::new().expect("temporary directory") };
        daemon.listen("libvirt-sock");
        daemon
    }

    /// A daemon of which only the socket to read is permitted.
    pub(crate) fn start_read_only() -> Self {
        let daemon = Self::start();
        let permit = |path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("own file");
        };
        permit(daemon.socket(), 0o000);
        permit(daemon.dir.path().to_owned(), 0o755);
        daemon.listen("libvirt-sock-ro");
        permit(daemon.dir.path().join("libvirt-sock-ro"), 0o777);
        daemon
    }

    fn listen(&self, name: &str) {
        let listener = UnixListener::bind(self.dir.path().join(name)).expect("socket");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || serve(connection));
            }
        });
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("libvirt-sock")
    }
}

fn text(text: &str) -> Text {
    Text::new(text).expect("short text")
}

fn hw() -> Network {
    Network { name: text("hw"), uuid: Uuid::from_u128(0xa1) }
}

fn web1() -> Domain {
    Domain { name: text("web1"), uuid: WEB1, id: 3 }
}

fn web8() -> Domain {
    Domain { name: text("web8"), uuid: Uuid::from_u128(0xc8), id: -1 }
}

fn serve(mut connection: UnixStream) {
    let mut decoder = FrameDecoder::new();
    let mut portion = [0; 4096];
    loop {
        let Ok(count @ 1..) = connection.read(&mut portion) else { return };
        decoder.feed(&portion[..count]);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let Some(bytes) = respond(frame.into()) else { return };
            if connection.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

/// `None` hangs up.
fn respond(incoming: Incoming) -> Option<Vec<u8>> {
    Some(match incoming {
        Incoming::Remote(_, Call::DomainReset(..)) => return None,
        Incoming::Remote(id, call) => {
            let opens = matches!(call, Call::DomainOpenConsole(..));
            // A client that cannot take a ping in between would lose its place here.
            let mut bytes = Keepalive::Ping.frame().encode().expect("small");
            bytes.extend(id.answer(remote(call)));
            if opens {
                bytes.extend(data(id, b"login: "));
            }
            bytes
        }
        Incoming::Vfnet(id, call) => id.answer(own(call)),
        Incoming::Qemu(id, call) => id.answer(Err(WireError::no_support(call.facts().name))),
        Incoming::Refused(id, error) => id.answer(Err(error)),
        Incoming::Stream(id, StreamPart::Data(bytes)) if bytes == b"poweroff\n" => {
            id.no_more_data().encode().expect("small")
        }
        // The console of this guest repeats what it is told.
        Incoming::Stream(id, StreamPart::Data(bytes)) => data(id, &bytes),
        Incoming::Stream(id, StreamPart::Finish | StreamPart::Abort(_)) => {
            id.finish().encode().expect("small")
        }
        Incoming::Stream(..) | Incoming::Keepalive(_) | Incoming::Unexpected(_) => Vec::new(),
    })
}

fn data(id: CallId, bytes: &[u8]) -> Vec<u8> {
    id.data(bytes).flat_map(|frame| frame.encode().expect("small")).collect()
}

fn refused(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::None, code, detail)
}

fn seven_reasons() -> WireError {
    let vfs: Vec<_> = (0..7)
        .map(|number| {
            let slot = 0x10 + number / 4;
            format!("0000:01:{slot:x}.{} held by guest web{}", number % 4 * 2, number + 1)
        })
        .collect();
    let detail = format!("network 'hw': none of its 7 VFs can be lent: {}", vfs.join("; "));
    refused(ErrorCode::InternalError, &detail)
}

fn remote(call: Call) -> Result<Payload, WireError> {
    Ok(match call {
        Call::AuthList((), answer) => {
            answer.with(&List::new(vec![AuthType::None.number()]).expect("short list"))
        }
        Call::ConnectOpen(_, answer) => answer.done(),

        Call::NetworkLookupByName(name, answer) if name == "hw" => answer.with(&hw()),
        Call::NetworkLookupByName(name, _) => {
            let detail = format!("no network with matching name '{name}'");
            return Err(refused(ErrorCode::NoNetwork, &detail));
        }
        Call::NetworkLookupByUuid(uuid, answer) if uuid == hw().uuid => answer.with(&hw()),
        Call::NetworkLookupByUuid(..) => return Err(refused(ErrorCode::NoNetwork, "no such uuid")),
        Call::NetworkDefineXml(xml, answer) if xml.contains("<name>hw</name>") => {
            answer.with(&hw())
        }
        Call::NetworkDefineXml(..) => {
            return Err(refused(ErrorCode::XmlError, "line 1: missing name"));
        }
        Call::NetworkIsActive(_, answer) => answer.with(&1),
        Call::NetworkIsPersistent(_, answer) => answer.with(&1),
        Call::NetworkGetAutostart(_, answer) => answer.with(&1),
        Call::NetworkGetXmlDesc(args, answer) => {
            answer.with(&text(&format!("<network flags='{}'/>\n", args.flags)))
        }
        Call::ConnectListAllNetworks(args, answer) => {
            let inactive = args.flags == flags::CONNECT_LIST_NETWORKS_INACTIVE;
            let networks = if inactive { Vec::new() } else { vec![hw()] };
            answer.with(&Listed::answer(&args, List::new(networks).expect("short list")))
        }
        Call::NetworkDestroy(..) => {
            return Err(refused(
                ErrorCode::OperationInvalid,
                "network 'hw' is in use: 0000:01:10.0 held by guest web1 (to stop it all the \
                 same: vfnet net destroy --force hw)",
            ));
        }

        Call::DomainLookupByName(name, answer) if name == "web1" => answer.with(&web1()),
        Call::DomainLookupByName(name, answer) if name == "web8" => answer.with(&web8()),
        Call::DomainLookupByName(name, _) => {
            let detail = format!("no domain with matching name '{name}'");
            return Err(refused(ErrorCode::NoDomain, &detail));
        }
        Call::DomainLookupByUuid(WEB1, answer) => answer.with(&web1()),
        Call::DomainLookupByUuid(..) => return Err(refused(ErrorCode::NoDomain, "no such uuid")),
        Call::DomainCreateWithFlags(args, _) if args.domain == web8() => {
            return Err(seven_reasons());
        }
        Call::DomainCreateWithFlags(args, answer) => answer.with(&args.domain),
        Call::DomainGetState(args, answer) => {
            let state =
                if args.domain.id > 0 { domain_state::RUNNING } else { domain_state::SHUTOFF };
            answer.with(&DomainState { state, reason: 1 })
        }
        Call::DomainShutdown(_, answer) => answer.done(),
        Call::ConnectListAllDomains(args, answer) => {
            let guests = vec![web8(), web1()];
            answer.with(&Listed::answer(&args, List::new(guests).expect("short list")))
        }
        Call::DomainOpenConsole(_, answer) => answer.done(),
        call => return Err(WireError::no_support(call.facts().name)),
    })
}

fn own(call: vfnet::Call) -> Result<Payload, WireError> {
    Ok(match call {
        vfnet::Call::DaemonInfo((), answer) => answer.with(&text(
            r#"{"version":"0.1.0","pid":1,"boot_id":"b","state_dir":"/s","run_dir":"/r"}"#,
        )),
        // As a newer daemon might have it, with a member that this client does not know.
        vfnet::Call::Inventory((), answer) => answer.with(&text(&format!(
            r#"{{"obstacle":null,"novelty":1,"pfs":[],"vfs":[{VF}]}}"#
        ))),
        vfnet::Call::Doctor((), answer) => answer.with(&text(
            r#"[{"check":"iommu","state":"problem","says":"there is no IOMMU","mend":"turn it on"}]"#,
        )),
        vfnet::Call::PortList((), answer) => answer.with(&text("[]")),
        vfnet::Call::GuestShow(name, answer) => {
            let runs = name == "web1";
            let (uuid, id) = if runs { (WEB1, "3") } else { (web8().uuid, "null") };
            let state = if runs { "running" } else { "shut off" };
            answer.with(&text(&format!(
                r#"{{"name":"{name}","uuid":"{uuid}","id":{id},"state":"{state}","pid":null,
                    "persistent":true,"autostart":false,"ports":[]}}"#
            )))
        }
        vfnet::Call::VfRestore(vf, answer) if vf == "0000:01:10.0" => answer.with(&text(VF)),
        call => return Err(WireError::no_support(call.facts().name)),
    })
}

const VF: &str = r#"{
    "address": "0000:01:10.0", "pf": "0000:01:00.0", "pf_netdev": "ens1f0", "index": 0,
    "netdev": "ens1f0v0", "mac": "02:11:22:33:44:00", "netdev_mac": "02:11:22:33:44:00",
    "vlan": null, "driver": "igbvf", "iommu_group": 30, "numa_node": null, "state": "free",
    "holder": null, "why": null, "network": null
}"#;
