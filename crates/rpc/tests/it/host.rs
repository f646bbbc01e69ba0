//! A server of a few lines, with one network, one guest and one device: enough for every shape
//! on the wire to be looked at by a client. One thread per connection; no state outlives one.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;
use uuid::Uuid;
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{domain_state, network_lifecycle, node_device_lifecycle};
use vfnet_rpc::frame::{Frame, FrameDecoder};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::{Domain, Listed, Network, NetworkPort, NodeDevice};
use vfnet_rpc::procedures::Payload;
use vfnet_rpc::remote::{
    AuthType, Call, DhcpLease, DomainEventDeviceRemoved, DomainEventLifecycle, DomainEventReboot,
    DomainInfo, DomainLifecycle, DomainLifecycleBody, DomainRebooted, DomainRemoved, DomainState,
    DomainStats, Feature, ModelName, NetworkEventLifecycle, NetworkEventMetadataChange,
    NetworkLifecycle, NetworkMetadataChange, NodeDeviceEventLifecycle, NodeDeviceEventUpdate,
    NodeDeviceLifecycle, NodeDeviceUpdate, NodeInfo, PortParameters,
};
use vfnet_rpc::server::{Incoming, event};
use vfnet_rpc::stream::StreamPart;
use vfnet_rpc::typed_params::{ParamValue, TypedParam};
use vfnet_rpc::vfnet;
use vfnet_rpc::xdr::{List, Text};

/// A listening server; its socket is gone when this is dropped.
pub(crate) struct Host {
    dir: TempDir,
}

impl Host {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().expect("temporary directory");
        let host = Self { dir };
        let listener = UnixListener::bind(host.socket()).expect("socket");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || serve(connection));
            }
        });
        host
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).expect("short text")
}

fn list<T: Debug, const MAX: usize>(elements: Vec<T>) -> List<T, MAX> {
    List::new(elements).expect("short list")
}

pub(crate) fn network() -> Network {
    Network { name: text("pool-a"), uuid: Uuid::from_u128(0xa1) }
}

fn port() -> NetworkPort {
    NetworkPort { network: network(), uuid: Uuid::from_u128(0xb2) }
}

fn guest() -> Domain {
    Domain { name: text("web1"), uuid: Uuid::from_u128(0xc3), id: 7 }
}

fn device() -> NodeDevice {
    NodeDevice { name: text("pci_0000_81_10_1") }
}

fn rate() -> TypedParam {
    TypedParam { field: text("inbound.average"), value: ParamValue::UInt(1000) }
}

fn not_found(code: ErrorCode, name: &str) -> WireError {
    WireError::new(ErrorDomain::None, code, &format!("no '{name}' here"))
}

/// What is sent behind the reply.
enum After {
    Nothing,
    Frames(Vec<Frame>),
    Event(Frame),
    /// libvirt's client may lose an event that is right behind the answer to its registration,
    /// so every ping brings them all again.
    EventsAgain,
    Hangup,
}

fn serve(mut connection: UnixStream) {
    let mut decoder = FrameDecoder::new();
    let mut portion = [0; 4096];
    let mut events = Vec::new();
    loop {
        let Ok(count @ 1..) = connection.read(&mut portion) else { return };
        decoder.feed(&portion[..count]);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            let (mut bytes, after) = respond(frame.into());
            let frames = match after {
                After::Nothing => Vec::new(),
                After::Hangup => return,
                After::Frames(frames) => frames,
                After::Event(frame) => {
                    events.push(frame);
                    events.clone()
                }
                After::EventsAgain => events.clone(),
            };
            for frame in frames {
                bytes.extend(frame.encode().expect("small"));
            }
            if connection.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

fn respond(incoming: Incoming) -> (Vec<u8>, After) {
    match incoming {
        Incoming::Remote(id, call) => {
            let after = after(id, &call);
            (id.answer(answer(call)), after)
        }
        Incoming::Vfnet(id, vfnet::Call::DaemonInfo((), answer)) => {
            (id.answer(Ok(answer.with(&text(r#"{"version":"0.1.0"}"#)))), After::Nothing)
        }
        Incoming::Vfnet(id, call) => {
            (id.answer(Err(WireError::no_support(call.facts().name))), After::Nothing)
        }
        Incoming::Qemu(id, call) => {
            (id.answer(Err(WireError::no_support(call.facts().name))), After::Nothing)
        }
        Incoming::Refused(id, error) => (id.answer(Err(error)), After::Nothing),
        Incoming::Keepalive(_) => {
            (Keepalive::Pong.frame().encode().expect("small"), After::EventsAgain)
        }
        // The console of this guest repeats what it is told.
        Incoming::Stream(id, StreamPart::Data(bytes)) => {
            (Vec::new(), After::Frames(id.data(&bytes).collect()))
        }
        Incoming::Stream(id, StreamPart::Finish | StreamPart::Abort(_)) => {
            (id.finish().encode().expect("small"), After::Nothing)
        }
        Incoming::Stream(..) => (Vec::new(), After::Nothing),
        Incoming::Unexpected(_) => (Vec::new(), After::Hangup),
    }
}

fn after(id: CallId, call: &Call) -> After {
    const CALLBACK: i32 = 5;
    let callback = CALLBACK;
    let frame = match call {
        Call::ConnectNetworkEventRegisterAny(args, _) if args.event == 1 => {
            event::<NetworkEventMetadataChange>(&NetworkMetadataChange {
                callback,
                network: network(),
                kind: 2,
                uri: Some(text("urn:x")),
            })
        }
        Call::ConnectNetworkEventRegisterAny(..) => {
            event::<NetworkEventLifecycle>(&NetworkLifecycle {
                callback,
                network: network(),
                event: network_lifecycle::STARTED,
                detail: 0,
            })
        }
        Call::ConnectDomainEventCallbackRegisterAny(args, _) => match args.event {
            0 => event::<DomainEventLifecycle>(&DomainLifecycle {
                callback,
                change: DomainLifecycleBody { domain: guest(), event: 5, detail: 1 },
            }),
            1 => event::<DomainEventReboot>(&DomainRebooted { callback, domain: guest() }),
            _ => event::<DomainEventDeviceRemoved>(&DomainRemoved {
                callback,
                domain: guest(),
                alias: text("hostdev0"),
            }),
        },
        Call::ConnectNodeDeviceEventRegisterAny(args, _) if args.event == 1 => {
            event::<NodeDeviceEventUpdate>(&NodeDeviceUpdate { callback, device: device() })
        }
        Call::ConnectNodeDeviceEventRegisterAny(..) => {
            event::<NodeDeviceEventLifecycle>(&NodeDeviceLifecycle {
                callback,
                device: device(),
                event: node_device_lifecycle::DELETED,
                detail: 0,
            })
        }
        Call::DomainOpenConsole(..) => {
            let mut frames: Vec<_> = id.data(b"login: ").collect();
            frames.push(id.no_more_data());
            return After::Frames(frames);
        }
        _ => return After::Nothing,
    };
    After::Event(frame)
}

fn answer(call: Call) -> Result<Payload, WireError> {
    Ok(match call {
        Call::AuthList((), answer) => answer.with(&list(vec![AuthType::None.number()])),
        Call::ConnectSupportsFeature(number, answer) => {
            answer.with(&i32::from(Feature::from_number(number).is_some()))
        }
        Call::ConnectOpen(_, answer) => answer.done(),
        Call::ConnectClose((), answer) => answer.done(),
        Call::ConnectRegisterCloseCallback((), answer) => answer.done(),
        Call::ConnectUnregisterCloseCallback((), answer) => answer.done(),
        Call::ConnectSetIdentity(_, answer) => answer.done(),
        Call::ConnectGetType((), answer) => answer.with(&text("QEMU")),
        Call::ConnectGetVersion((), answer) => answer.with(&10_000_002),
        Call::ConnectGetLibVersion((), answer) => answer.with(&11_003_000),
        Call::ConnectGetHostname((), answer) => answer.with(&text("metal1")),
        Call::ConnectGetUri((), answer) => answer.with(&text("qemu:///system")),
        Call::ConnectGetCapabilities((), answer) => answer.with(&text("<capabilities/>")),
        Call::ConnectGetDomainCapabilities(args, answer) => {
            let machine = args.machine.as_deref().unwrap_or("none").to_owned();
            answer.with(&text(&format!(
                "<domainCapabilities><machine>{machine}</machine></domainCapabilities>"
            )))
        }
        Call::ConnectGetMaxVcpus(_, answer) => answer.with(&255),
        Call::ConnectIsSecure((), answer) => answer.with(&1),
        Call::NodeGetFreeMemory((), answer) => answer.with(&(1 << 30)),
        Call::ConnectGetSysinfo(_, answer) => answer.with(&text("<sysinfo type='smbios'/>")),
        Call::ConnectDomainXmlToNative(args, answer) => answer.with(&args.format),
        Call::NodeGetInfo((), answer) => answer.with(&NodeInfo {
            model: ModelName::new("x86_64"),
            memory: 1024 * 1024,
            cpus: 8,
            mhz: 2400,
            nodes: 1,
            sockets: 1,
            cores: 4,
            threads: 2,
        }),

        Call::ConnectListAllNetworks(args, answer) => {
            answer.with(&Listed::answer(&args, list(vec![network()])))
        }
        Call::NetworkLookupByName(name, answer) if name == "pool-a" => answer.with(&network()),
        Call::NetworkLookupByName(name, _) => {
            return Err(not_found(ErrorCode::NoNetwork, &name));
        }
        Call::NetworkLookupByUuid(_, answer) => answer.with(&network()),
        Call::NetworkDefineXml(_, answer) => answer.with(&network()),
        Call::NetworkDefineXmlFlags(_, answer) => answer.with(&network()),
        Call::NetworkCreateXml(_, answer) => answer.with(&network()),
        Call::NetworkCreateXmlFlags(_, answer) => answer.with(&network()),
        Call::NetworkCreate(_, answer) => answer.done(),
        Call::NetworkDestroy(_, answer) => answer.done(),
        Call::NetworkUndefine(_, answer) => answer.done(),
        Call::NetworkUpdate(args, answer) if (args.command, args.section) == (3, 9) => {
            answer.done()
        }
        Call::NetworkGetXmlDesc(_, answer) => {
            answer.with(&text("<network><name>pool-a</name></network>"))
        }
        Call::NetworkGetAutostart(_, answer) => answer.with(&1),
        Call::NetworkSetAutostart(_, answer) => answer.done(),
        Call::NetworkGetBridgeName(_, answer) => answer.with(&text("br0")),
        Call::NetworkIsActive(_, answer) => answer.with(&1),
        Call::NetworkIsPersistent(_, answer) => answer.with(&1),
        Call::NetworkGetDhcpLeases(_, answer) => answer.with(&Listed {
            objects: list(vec![DhcpLease {
                interface: text("br0"),
                expiry: 1_800_000_000,
                kind: 0,
                mac: Some(text("52:54:00:00:00:01")),
                iaid: None,
                address: text("192.0.2.9"),
                prefix: 24,
                hostname: Some(text("web1")),
                client: None,
            }]),
            count: 1,
        }),
        Call::NetworkGetMetadata(_, answer) => answer.with(&text("a pool")),
        Call::NetworkSetMetadata(_, answer) => answer.done(),
        Call::NetworkListAllPorts(_, answer) => {
            answer.with(&Listed { objects: list(vec![port()]), count: 1 })
        }
        Call::NetworkPortLookupByUuid(_, answer) => answer.with(&port()),
        Call::NetworkPortCreateXml(_, answer) => answer.with(&port()),
        Call::NetworkPortGetParameters(_, answer) => {
            answer.with(&PortParameters { params: list(vec![rate()]), count: 1 })
        }
        Call::NetworkPortSetParameters(args, answer) if args.params[..] == [rate()] => {
            answer.done()
        }
        Call::NetworkPortGetXmlDesc(_, answer) => answer.with(&text("<networkport/>")),
        Call::NetworkPortDelete(_, answer) => answer.done(),
        Call::ConnectNetworkEventRegisterAny(_, answer) => answer.with(&5),
        Call::ConnectNetworkEventDeregisterAny(_, answer) => answer.done(),

        Call::ConnectListAllDomains(args, answer) => {
            answer.with(&Listed::answer(&args, list(vec![guest()])))
        }
        Call::ConnectNumOfDomains((), answer) => answer.with(&1),
        Call::ConnectListDomains(_, answer) => answer.with(&list(vec![7])),
        Call::ConnectNumOfDefinedDomains((), answer) => answer.with(&1),
        Call::ConnectListDefinedDomains(_, answer) => answer.with(&list(vec![text("web1")])),
        Call::ConnectNumOfNetworks((), answer) => answer.with(&1),
        Call::ConnectListNetworks(_, answer) => answer.with(&list(vec![text("pool-a")])),
        Call::ConnectNumOfDefinedNetworks((), answer) => answer.with(&1),
        Call::ConnectListDefinedNetworks(_, answer) => answer.with(&list(vec![text("pool-a")])),
        Call::DomainLookupById(7, answer) => answer.with(&guest()),
        Call::DomainLookupByName(name, answer) if name == "web1" => answer.with(&guest()),
        Call::DomainLookupByName(name, _) => return Err(not_found(ErrorCode::NoDomain, &name)),
        Call::DomainLookupByUuid(_, answer) => answer.with(&guest()),
        Call::DomainDefineXml(_, answer) => answer.with(&guest()),
        Call::DomainDefineXmlFlags(_, answer) => answer.with(&guest()),
        Call::DomainCreateXml(_, answer) => answer.with(&guest()),
        Call::DomainDestroy(_, answer) => answer.done(),
        Call::DomainDestroyFlags(_, answer) => answer.done(),
        Call::DomainUndefineFlags(_, answer) => answer.done(),
        Call::DomainShutdown(_, answer) => answer.done(),
        Call::DomainShutdownFlags(_, answer) => answer.done(),
        Call::DomainReboot(_, answer) => answer.done(),
        Call::DomainReset(_, answer) => answer.done(),
        Call::DomainSuspend(_, answer) => answer.done(),
        Call::DomainResume(_, answer) => answer.done(),
        Call::DomainGetInfo(_, answer) => answer.with(&DomainInfo {
            state: 1,
            max_memory: 2048,
            memory: 1024,
            vcpus: 3,
            cpu_time: 5_000_000_000,
        }),
        Call::DomainGetState(_, answer) => {
            answer.with(&DomainState { state: domain_state::RUNNING, reason: 1 })
        }
        Call::DomainGetXmlDesc(_, answer) => answer.with(&text(
            "<domain type='kvm'><name>web1</name><devices><console type='pty' tty='/dev/pts/9'>\
             <alias name='console0'/></console></devices></domain>",
        )),
        Call::DomainIsActive(_, answer) => answer.with(&1),
        Call::DomainIsPersistent(_, answer) => answer.with(&1),
        Call::DomainIsUpdated(_, answer) => answer.with(&0),
        Call::DomainGetAutostart(_, answer) => answer.with(&1),
        Call::DomainSetAutostart(_, answer) => answer.done(),
        Call::DomainGetOsType(_, answer) => answer.with(&text("hvm")),
        Call::DomainGetMaxMemory(_, answer) => answer.with(&2048),
        Call::DomainHasManagedSaveImage(_, answer) => answer.with(&0),
        Call::DomainGetMaxVcpus(_, answer) => answer.with(&3),
        Call::DomainGetVcpusFlags(args, answer) => answer.with(&args.flags.cast_signed()),
        Call::DomainSetMemory(args, answer) if args.memory == 1024 => answer.done(),
        Call::DomainSetMemoryFlags(args, answer) if args.memory == 1024 => answer.done(),
        Call::DomainSnapshotNum(_, answer) => answer.with(&0),
        Call::DomainAttachDeviceFlags(_, answer) => answer.done(),
        Call::DomainDetachDeviceFlags(_, answer) => answer.done(),
        Call::DomainAttachDevice(_, answer) => answer.done(),
        Call::DomainDetachDevice(_, answer) => answer.done(),
        Call::DomainUpdateDeviceFlags(_, answer) => answer.done(),
        Call::DomainDetachDeviceAlias(_, answer) => answer.done(),
        Call::DomainGetMetadata(_, answer) => answer.with(&text("a guest")),
        Call::DomainSetMetadata(_, answer) => answer.done(),
        Call::ConnectGetAllDomainStats(_, answer) => answer.with(&list(vec![DomainStats {
            domain: guest(),
            params: list(vec![TypedParam {
                field: text("state.state"),
                value: ParamValue::Int(1),
            }]),
        }])),
        Call::DomainOpenConsole(_, answer) => answer.done(),
        Call::ConnectDomainEventCallbackRegisterAny(_, answer) => answer.with(&5),
        Call::ConnectDomainEventCallbackDeregisterAny(_, answer) => answer.done(),

        Call::ConnectListAllNodeDevices(args, answer) => {
            answer.with(&Listed::answer(&args, list(vec![device()])))
        }
        Call::NodeNumOfDevices(_, answer) => answer.with(&1),
        Call::NodeListDevices(_, answer) => answer.with(&list(vec![device().name])),
        Call::NodeDeviceLookupByName(_, answer) => answer.with(&device()),
        Call::NodeDeviceGetXmlDesc(_, answer) => answer.with(&text("<device/>")),
        Call::NodeDeviceGetParent(_, answer) => answer.with(&Some(text("computer"))),
        Call::NodeDeviceNumOfCaps(_, answer) => answer.with(&1),
        Call::NodeDeviceListCaps(_, answer) => answer.with(&list(vec![text("pci")])),
        Call::NodeDeviceDettach(_, answer) => answer.done(),
        Call::NodeDeviceDetachFlags(_, answer) => answer.done(),
        Call::NodeDeviceReAttach(_, answer) => answer.done(),
        Call::NodeDeviceReset(_, answer) => answer.done(),
        Call::NodeDeviceGetAutostart(_, answer) => answer.with(&0),
        Call::NodeDeviceIsPersistent(_, answer) => answer.with(&0),
        Call::NodeDeviceIsActive(_, answer) => answer.with(&1),
        Call::ConnectNodeDeviceEventRegisterAny(_, answer) => answer.with(&5),
        Call::ConnectNodeDeviceEventDeregisterAny(_, answer) => answer.done(),

        call => return Err(WireError::no_support(call.facts().name)),
    })
}
