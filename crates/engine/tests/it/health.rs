//! What becomes of cards is told once.

use vfnet_engine::{Announcement, PfChange};

use crate::scene::{PF, igb, pci, with_network};
use crate::world::World;

fn told(world: &mut World) -> Vec<PfChange> {
    world.look();
    world.settle();
    let said = std::mem::take(&mut world.said).into_iter();
    said.filter_map(|what| match what {
        Announcement::PfChanged(pf, change) => {
            assert_eq!(pf, format!("ens1f0 ({PF})"));
            Some(change)
        }
        _ => None,
    })
    .collect()
}

#[test]
fn what_becomes_of_a_card_is_told_once() {
    let mut world = with_network(igb(2));
    assert_eq!(told(&mut world), [], "nothing has become of it yet");
    let host = world.host.clone();
    host.set_carrier(pci(PF), false);
    assert_eq!(told(&mut world), [PfChange::Link(false)]);
    assert_eq!(told(&mut world), []);
    host.set_carrier(pci(PF), true);
    assert_eq!(told(&mut world), [PfChange::Link(true)]);
    host.pf_down(pci(PF));
    assert_eq!(told(&mut world), [PfChange::Link(false)]);
    host.pf_up(pci(PF));
    host.pcie_errors(pci(PF), 3);
    assert_eq!(told(&mut world), [PfChange::Link(true), PfChange::Errors(3)]);
    assert!(host.unplug_pf(pci(PF)));
    assert_eq!(told(&mut world), [PfChange::Went]);
    host.plug_pf(pci(PF));
    assert_eq!(told(&mut world), [PfChange::Came]);
    world.restart();
    assert_eq!(told(&mut world), [], "a daemon that starts finds what it finds");
}
