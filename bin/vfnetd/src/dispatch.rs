//! From a decoded call to its answer: one table for libvirt's program and one for vfnet's own.
//! What a call does is in the module of its area.

mod connect;
mod device;
mod flags;
pub(crate) mod guest;
mod lease;
pub(crate) mod network;
mod network_edit;
mod node_device;
mod own;
mod plan;
pub(crate) mod port;
mod storage;

use vfnet_rpc::error::WireError;
use vfnet_rpc::objects::Listed;
use vfnet_rpc::procedures::Payload;
use vfnet_rpc::remote::Call;
use vfnet_rpc::vfnet;
use vfnet_rpc::xdr::{List, Text};

use crate::aside::aside;
use crate::{Daemon, upstream};

/// What a call comes back with.
pub(crate) type Outcome = Result<Payload, WireError>;

/// A text for the wire. What is longer than the wire takes is clipped; our own texts are not.
fn text(text: impl AsRef<str>) -> Text {
    Text::clipped(text.as_ref())
}

/// A list for the wire, cut to what the wire takes.
fn list<T, const MAX: usize>(mut elements: Vec<T>) -> List<T, MAX> {
    elements.truncate(MAX);
    List::new(elements).unwrap_or_default()
}

/// Reads a client's document on a thread that may take its time: a long one takes a second.
pub(crate) async fn parsed<T: Send + 'static>(
    xml: &str,
    parse: impl FnOnce(&str) -> T + Send + 'static,
) -> Result<T, WireError> {
    let xml = xml.to_owned();
    aside(move || parse(&xml)).await
}

/// A yes or no for the wire.
fn flag(yes: bool) -> i32 {
    i32::from(yes)
}

/// How many for the wire.
fn count(elements: &[impl Sized]) -> i32 {
    i32::try_from(elements.len()).unwrap_or(i32::MAX)
}

/// As many elements as the caller has room for.
fn room<T>(mut elements: Vec<T>, room: i32) -> Vec<T> {
    elements.truncate(usize::try_from(room).unwrap_or(0));
    elements
}

/// Serves a call of libvirt's program, or has the stock network daemon serve it. The
/// connection's own calls have been served before.
pub(crate) async fn remote(daemon: &Daemon, call: Call) -> Outcome {
    upstream::route(daemon, call).await
}

/// Serves a call that is not about another daemon's network.
pub(crate) async fn serve(daemon: &Daemon, call: Call) -> Outcome {
    flags::check(&call)?;
    Ok(match call {
        Call::ConnectIsSecure((), a) => a.with(&1),
        Call::ConnectGetType((), a) => a.with(&text("QEMU")),
        Call::ConnectGetVersion((), a) => a.with(&connect::emulator_version(daemon).await?),
        Call::ConnectGetLibVersion((), a) => a.with(&connect::LIBVIRT_VERSION),
        Call::ConnectGetHostname((), a) => a.with(&text(connect::hostname())),
        Call::ConnectGetMaxVcpus(_, a) => a.with(&connect::max_vcpus()),
        Call::NodeGetInfo((), a) => a.with(&connect::node_info()),
        Call::NodeGetFreeMemory((), a) => a.with(&connect::free_memory()),
        Call::ConnectGetCapabilities((), a) => a.with(&text(connect::capabilities(daemon))),

        Call::ConnectListAllNetworks(args, a) => {
            let networks = network::list_all(daemon, args.flags).await?;
            a.with(&Listed::answer(&args, list(networks)))
        }
        Call::ConnectNumOfNetworks((), a) => a.with(&count(&network::names(daemon, true).await?)),
        Call::ConnectListNetworks(most, a) => {
            a.with(&list(room(network::names(daemon, true).await?, most)))
        }
        Call::ConnectNumOfDefinedNetworks((), a) => {
            a.with(&count(&network::names(daemon, false).await?))
        }
        Call::ConnectListDefinedNetworks(most, a) => {
            a.with(&list(room(network::names(daemon, false).await?, most)))
        }
        Call::NetworkLookupByName(name, a) => a.with(&network::by_name(daemon, &name).await?),
        Call::NetworkLookupByUuid(uuid, a) => a.with(&network::by_uuid(daemon, uuid).await?),
        Call::NetworkDefineXml(xml, a) => a.with(&network::define(daemon, &xml).await?),
        Call::NetworkDefineXmlFlags(args, a) => a.with(&network::define(daemon, &args.xml).await?),
        Call::NetworkCreateXml(xml, a) => a.with(&network::create(daemon, &xml).await?),
        Call::NetworkCreateXmlFlags(args, a) => a.with(&network::create(daemon, &args.xml).await?),
        Call::NetworkCreate(it, a) => network::start(daemon, &it).await.map(|()| a.done())?,
        Call::NetworkDestroy(it, a) => {
            network::destroy(daemon, &it, false).await.map(|()| a.done())?
        }
        Call::NetworkUndefine(it, a) => network::undefine(daemon, &it).await.map(|()| a.done())?,
        Call::NetworkGetXmlDesc(args, a) => {
            a.with(&network::document(daemon, &args.network, args.flags).await?)
        }
        Call::NetworkGetAutostart(it, a) => a.with(&network::autostart(daemon, &it).await?),
        Call::NetworkSetAutostart(args, a) => {
            network::set_autostart(daemon, &args.network, args.autostart != 0).await?;
            a.done()
        }
        Call::NetworkGetBridgeName(it, a) => a.with(&network::bridge(daemon, &it).await?),
        Call::NetworkIsActive(it, a) => a.with(&network::is_active(daemon, &it).await?),
        Call::NetworkIsPersistent(it, a) => a.with(&network::is_persistent(daemon, &it).await?),
        Call::NetworkUpdate(args, a) => {
            network_edit::update(daemon, &args).await.map(|()| a.done())?
        }
        Call::NetworkSetMetadata(args, a) => {
            network_edit::set_metadata(daemon, args).await.map(|()| a.done())?
        }
        Call::NetworkGetMetadata(args, a) => {
            a.with(&network_edit::metadata_of(daemon, &args).await?)
        }
        Call::NetworkGetDhcpLeases(args, a) => {
            network::no_leases(daemon, &args).await?;
            a.with(&Listed { objects: List::empty(), count: 0 })
        }

        Call::NetworkListAllPorts(args, a) => {
            let ports = port::list_all(daemon, &args.network).await?;
            let of = vfnet_rpc::objects::ListArgs { need_results: args.need_results, flags: 0 };
            a.with(&Listed::answer(&of, list(ports)))
        }
        Call::NetworkPortLookupByUuid(args, a) => {
            a.with(&port::lookup(daemon, &args.network, args.uuid).await?)
        }
        Call::NetworkPortGetXmlDesc(args, a) => a.with(&port::document(daemon, &args.port).await?),
        Call::NetworkPortCreateXml(args, a) => a.with(&port::create(daemon, &args).await?),
        Call::NetworkPortDelete(args, a) => {
            port::delete(daemon, &args.port).await.map(|()| a.done())?
        }
        Call::NetworkPortGetParameters(args, a) => {
            a.with(&port::parameters(daemon, &args.port).await?)
        }
        Call::NetworkPortSetParameters(args, a) => {
            port::set_parameters(daemon, &args).await.map(|()| a.done())?
        }

        Call::ConnectListAllNodeDevices(args, a) => {
            let devices = node_device::list_all(daemon, args.flags).await?;
            a.with(&Listed::answer(&args, list(devices)))
        }
        Call::NodeNumOfDevices(args, a) => {
            a.with(&count(&node_device::names(daemon, args.capability.as_deref()).await?))
        }
        Call::NodeListDevices(args, a) => {
            let names = node_device::names(daemon, args.capability.as_deref()).await?;
            a.with(&list(room(names, args.room)))
        }
        Call::NodeDeviceLookupByName(name, a) => {
            a.with(&node_device::by_name(daemon, &name).await?)
        }
        Call::NodeDeviceGetXmlDesc(args, a) => {
            a.with(&node_device::document(daemon, &args.name, args.flags).await?)
        }
        Call::NodeDeviceGetParent(name, a) => a.with(&node_device::parent(daemon, &name).await?),
        Call::NodeDeviceNumOfCaps(name, a) => {
            a.with(&count(&node_device::capabilities(daemon, &name).await?))
        }
        Call::NodeDeviceListCaps(args, a) => {
            let capabilities = node_device::capabilities(daemon, &args.name).await?;
            a.with(&list(room(capabilities, args.room)))
        }
        Call::NodeDeviceIsActive(name, a) => {
            node_device::by_name(daemon, &name).await?;
            a.with(&flag(true))
        }
        Call::NodeDeviceIsPersistent(name, a) => {
            a.with(&flag(node_device::is_persistent(daemon, &name).await?))
        }
        Call::NodeDeviceGetAutostart(name, a) => {
            a.with(&flag(node_device::is_persistent(daemon, &name).await?))
        }

        Call::NodeDeviceDettach(name, a) => {
            device::detach(daemon, &name, None).await.map(|()| a.done())?
        }
        Call::NodeDeviceDetachFlags(args, a) => {
            device::detach(daemon, &args.name, args.driver.as_deref()).await.map(|()| a.done())?
        }
        Call::NodeDeviceReAttach(name, a) => {
            device::reattach(daemon, &name).await.map(|()| a.done())?
        }
        Call::NodeDeviceReset(name, a) => device::reset(daemon, &name).await.map(|()| a.done())?,

        call => return guest::serve(daemon, call).await,
    })
}

/// Serves a call of libvirt's program for QEMU.
pub(crate) async fn qemu(daemon: &Daemon, call: vfnet_rpc::qemu::Call) -> Outcome {
    guest::qemu(daemon, call).await
}

/// Serves a call of vfnet's own program: each answers with a JSON document.
pub(crate) async fn own(daemon: &Daemon, call: vfnet::Call) -> Outcome {
    use vfnet::Call;
    Ok(match call {
        Call::DaemonInfo((), a) => a.with(&own::json(&own::daemon_info(daemon))?),
        Call::Inventory((), a) => a.with(&own::json(&own::inventory(daemon).await?)?),
        Call::Explain(args, a) => a.with(&own::json(&own::explain(daemon, &args).await?)?),
        Call::VfRestore(vf, a) => a.with(&own::json(&own::vf_restore(daemon, &vf).await?)?),
        Call::NetworkDestroyForced(name, a) => {
            let network = network::by_name(daemon, &name).await?;
            network::destroy(daemon, &network, true).await?;
            a.with(&own::json(&())?)
        }
        Call::Doctor((), a) => a.with(&own::json(&own::doctor(daemon).await?)?),
        Call::PortList((), a) => a.with(&own::json(&own::ports(daemon).await?)?),
        Call::GuestShow(name, a) => a.with(&own::json(&own::guest(daemon, &name).await?)?),
        Call::Events(args, a) => {
            a.with(&own::json(&daemon.history.after(args.after, args.wait).await)?)
        }
        Call::Lease(args, a) => a.with(&own::json(&lease::lease(daemon, &args).await?)?),
        Call::PfDrain(args, a) => a.with(&own::json(&own::pf_drain(daemon, &args).await?)?),
        Call::PfUndrain(pf, a) => a.with(&own::json(&own::pf_undrain(daemon, &pf).await?)?),
        Call::PfSetVfs(args, a) => {
            a.with(&own::json(&own::pf_set_vfs(daemon, &args, false).await?)?)
        }
        Call::PfKeepVfs(args, a) => {
            a.with(&own::json(&own::pf_set_vfs(daemon, &args, true).await?)?)
        }
        Call::PfForgetVfs(pf, a) => a.with(&own::json(&own::pf_forget_vfs(daemon, &pf).await?)?),
        Call::Plan(args, a) => a.with(&own::json(&plan::plan(daemon, &args).await?)?),
        Call::Claims((), a) => a.with(&own::json(&own::claims(daemon).await?)?),
    })
}
