//! One of everything that can be written down.

use std::collections::BTreeMap;

use vfnet_engine::claim::NetworkOf;
use vfnet_engine::{
    BridgePort, Cause, Claim, ClaimId, ClaimState, Drain, Entry, Executor, GuestDefinition,
    GuestEntry, GuestRun, KeptVfs, Lessee, LiveNetwork, NetworkDefinition, NetworkEntry, Owner,
    Pending, Phase, UnfinishedEdit,
};
use vfnet_model::inventory::Incarnation;
use vfnet_model::network::LentPf;
use vfnet_model::pf::PfIdentity;
use vfnet_model::vf::{
    Binding, LinkState, Original, OriginalState, VfAttributes, VfIndex, WantedSettings,
};
use vfnet_model::{MacAddress, PciAddress, Uuid, Vlan, guest, network};

pub(crate) fn uuid(n: u32) -> Uuid {
    format!("11111111-2222-4333-8444-{n:012}").parse().unwrap()
}

pub(crate) fn mac(n: u8) -> MacAddress {
    format!("52:54:00:00:00:{n:02x}").parse().unwrap()
}

fn vf(n: u64) -> PciAddress {
    format!("0000:01:{:02x}.{}", 0x10 + n / 8, n % 8).parse().unwrap()
}

pub(crate) fn network_definition(n: u32) -> NetworkDefinition {
    // Without a uuid: the row's own is the network's.
    let xml = format!(
        "<network>\n  <name>net{n}</name>\n  <forward mode='hostdev' managed='yes'>\n    \
         <pf dev='ens1f0'/>\n  </forward>\n  <vlan><tag id='42'/></vlan>\n</network>"
    );
    let mut network = network::parse(&xml).unwrap();
    network.uuid = Some(uuid(n));
    NetworkDefinition { uuid: uuid(n), network, xml }
}

pub(crate) fn network(n: u32) -> Entry {
    Entry::Network(NetworkEntry {
        uuid: uuid(n),
        definition: network_definition(n),
        autostart: n.is_multiple_of(2),
    })
}

pub(crate) fn guest_definition(n: u32, description: &str) -> GuestDefinition {
    let uuid = uuid(n);
    let xml = format!(
        "<domain type='kvm'>
  <name>guest{n}</name>
  <uuid>{uuid}</uuid>
  <description>{description}</description>
  <memory unit='KiB'>1048576</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/>
      <source network='net2' portgroup='fast'/>
      <model type='virtio'/>
    </interface>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x01' slot='0x10' function='0x3'/></source>
    </hostdev>
  </devices>
</domain>"
    );
    GuestDefinition::from_document(&guest::parse(&xml).unwrap(), xml).unwrap()
}

pub(crate) fn guest(n: u32) -> Entry {
    large_guest(n, 0)
}

/// A guest whose document has so many bytes of description.
pub(crate) fn large_guest(n: u32, bytes: usize) -> Entry {
    Entry::Guest(GuestEntry {
        uuid: uuid(n),
        definition: guest_definition(n, &"x".repeat(bytes)),
        autostart: n.is_multiple_of(2),
    })
}

pub(crate) fn run(n: u32, phase: Phase, pid: Option<u32>) -> Entry {
    Entry::Run(GuestRun {
        guest: uuid(n),
        id: i32::try_from(n).unwrap(),
        definition: guest_definition(n, "runs"),
        uid_slot: 7,
        phase,
        pid,
        autodestroy: n.is_multiple_of(2),
        cause: Cause::Asked,
        plugs: BTreeMap::new(),
    })
}

pub(crate) fn claim(id: u64) -> Claim {
    Claim {
        id: ClaimId(id),
        owner: Owner::Nic { guest: uuid(3), name: "guest3".parse().unwrap(), nic: 0 },
        executor: Executor::Vfnet,
        network: Some(NetworkOf {
            uuid: uuid(2),
            name: "net2".parse().unwrap(),
            port: uuid(77),
            portgroup: Some("fast".to_owned()),
            trust_guest_rx_filters: None,
            isolated: None,
        }),
        vf: vf(id % 64),
        pf: "0000:01:00.0".parse().unwrap(),
        index: VfIndex(u16::try_from(id % 64).unwrap()),
        incarnation: Incarnation(4711),
        iommu_group: Some(12),
        netdev: Some("ens1f0v0".parse().unwrap()),
        original: Original::Known(OriginalState {
            attributes: VfAttributes {
                spoofchk: Some(true),
                link_state: Some(LinkState::Auto),
                max_tx_rate: Some(100),
                ..VfAttributes::UNSET
            },
            binding: Binding { driver: Some("igbvf".parse().unwrap()), driver_override: None },
            netdev_mac: Some(mac(9)),
            own_mac_shown: false,
        }),
        wanted: Some(WantedSettings {
            vlan: Some(Vlan::UNTAGGED),
            rate: Some((0, 100)),
            ..WantedSettings::mac(mac(1))
        }),
        managed: true,
        driver: None,
        state: ClaimState::Preparing,
        drift: None,
    }
}

/// A claim of every owner and every state.
pub(crate) fn claims() -> Vec<Claim> {
    let (guest, name) = (uuid(3), || "guest3".parse().unwrap());
    let owners = [
        Owner::Nic { guest, name: name(), nic: 1 },
        Owner::Hostdev { guest, name: name(), hostdev: 0 },
        Owner::Port { guest, name: name() },
        Owner::Lease(Lessee {
            program: "testpmd".to_owned(),
            pid: 99,
            start_time: 4711,
            uid: 1000,
            gid: 1000,
        }),
        Owner::Reservation { guest, name: name() },
        Owner::Administrator,
    ];
    let states = [
        ClaimState::Preparing,
        ClaimState::Held { driver: "vfio-pci".parse().unwrap(), group: 12 },
        ClaimState::Lent,
        ClaimState::Releasing,
        ClaimState::Vanished,
        ClaimState::Quarantined { reason: "its MAC 'did not' come back".to_owned() },
        ClaimState::Stuck { step: "unbinding".to_owned() },
    ];
    let of_owners = owners.into_iter().zip(1..).map(|(owner, id)| Claim {
        network: None,
        original: Original::Unknown,
        wanted: None,
        driver: Some("mlx5_vfio_pci".parse().unwrap()),
        owner,
        ..claim(id)
    });
    let of_states = states.into_iter().zip(11..).map(|(state, id)| Claim {
        executor: if state == ClaimState::Lent { Executor::Outside } else { Executor::Vfnet },
        drift: matches!(state, ClaimState::Held { .. }).then(|| "changed: MAC".to_owned()),
        state,
        ..claim(id)
    });
    of_owners.chain(of_states).collect()
}

/// One of every kind that outlives the daemon.
pub(crate) fn all() -> Vec<Entry> {
    let live = LiveNetwork {
        uuid: uuid(2),
        definition: network_definition(2),
        pfs: vec![
            LentPf { address: "0000:01:00.0".parse().unwrap(), range: None },
            LentPf {
                address: "0000:02:00.0".parse().unwrap(),
                range: Some("0-3,6".parse().unwrap()),
            },
        ],
        vfs: vec![vf(3), vf(4)],
    };
    let on_bridge = BridgePort {
        port: uuid(6),
        network: uuid(1),
        owner: uuid(3),
        owner_name: "guest3".parse().unwrap(),
        portgroup: Some("gold".to_owned()),
        mac: mac(6),
        bridge: "br0".parse().unwrap(),
    };
    let edit = UnfinishedEdit { live: live.clone(), config: network_definition(2) };
    let mut entries = vec![
        Entry::BridgePort(on_bridge),
        Entry::Edit(Box::new(edit)),
        network(1),
        network(2),
        guest(3),
        guest(4),
        Entry::KeptVfs(KeptVfs { pf: PfIdentity::Mac(mac(1)), count: 7 }),
        Entry::Drain(Drain { pf: PfIdentity::Mac(mac(1)), why: "bad cable".to_owned() }),
        Entry::LiveNetwork(live),
        run(3, Phase::Running, Some(4242)),
        run(5, Phase::ShuttingDown, None),
        Entry::Pending(uuid(1), Pending::Network),
        Entry::Pending(uuid(4), Pending::Guest),
        Entry::Autostarted,
        Entry::AutoprobeOff("0000:01:00.0".parse().unwrap()),
    ];
    entries.extend(claims().into_iter().map(Entry::Claim));
    entries
}
