//! Guard rails: nobody loses a VF to another number of VFs, an unbound PF or a stopped network
//! without being named first.

use vfnet_engine::{Answer, RefusalKind, Request};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};

use crate::scene::{
    PF, create, destroy, guest_with, igb, mac, net, nic, pci, port, vf, with_network,
};
use crate::world::{Death, World, granted};

fn set(vfs: u16) -> Request {
    Request::PfSetVfs { pf: pci(PF), count: vfs, keep: false }
}

fn refused(world: &mut World, request: Request, kind: RefusalKind) -> String {
    let writes = world.host.trace().len();
    let refusal = world.ask(request).expect_err("refused");
    assert_eq!(refusal.kind, kind, "{refusal}");
    assert_eq!(world.host.trace().len(), writes, "nothing was written to the kernel");
    refusal.to_string()
}

fn vfs(world: &World) -> usize {
    world.host.facts().len()
}

fn run(world: &mut World, name: &str, last: u8, nics: usize) {
    let nics = (0..nics).map(|more| nic("hw", mac(last + u8::try_from(more).expect("few"))));
    granted(world.ask(create(guest_with(name, nics.collect()))));
}

#[test]
fn a_pf_makes_as_many_vfs_as_it_is_told_by_way_of_none() {
    let mut world = with_network(igb(7));
    for count in [7, 3, 0, 5] {
        assert_eq!(granted(world.ask(set(count))), Answer::Done);
        assert_eq!(vfs(&world), usize::from(count));
    }
    let writes = world.host.trace().len();
    granted(world.ask(set(5)));
    assert_eq!(world.host.trace().len(), writes, "it had five");
}

#[test]
fn more_vfs_than_a_pf_allows_are_refused_with_the_number_it_allows() {
    let mut world = with_network(igb(2));
    let why = refused(&mut world, set(9), RefusalKind::InvalidArgument);
    assert_eq!(why, "PF ens1f0 (0000:01:00.0) allows 7 VFs, 9 are wanted");
    let nowhere = Request::PfSetVfs { pf: vf(0), count: 1, keep: false };
    refused(&mut world, nowhere, RefusalKind::NoDevice);
}

#[test]
fn nobody_loses_a_vf_to_another_number_and_everybody_who_would_is_named() {
    let mut world = with_network(igb(7));
    run(&mut world, "web", 1, 2);
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 1, mac(9))))));
    let host = world.host.clone();
    host.change_netdev(vf(4), |dev| dev.addresses = vec!["192.0.2.7/24".into()]);
    host.change_netdev(vf(5), |dev| dev.master = Some("br0".parse().expect("a name")));
    world.look();
    for count in [0, 3] {
        assert_eq!(
            refused(&mut world, set(count), RefusalKind::OperationInvalid),
            format!(
                "the number of VFs of PF ens1f0 (0000:01:00.0) is not changed from 7 to {count}, \
                 which takes them all away first: 0000:01:10.0 held by guest web, and 1 more; \
                 0000:01:10.4 held by guest outside of another daemon; 0000:01:11.0 host uses \
                 ens1f0v4: it has the address 192.0.2.7/24; 0000:01:11.2 host uses ens1f0v5: it \
                 belongs to br0"
            )
        );
    }
    assert_eq!(vfs(&world), 7);
}

#[test]
fn a_vf_of_a_pf_that_is_being_changed_is_nobodys() {
    let mut world = with_network(igb(7));
    world.begin(set(3));
    let all = [
        create(guest_with("web", vec![nic("hw", mac(1))])),
        Request::PortCreate(Box::new(port("hw", 1, mac(1)))),
        Request::DeviceDetach { device: vf(0), driver: None },
        Request::DeviceReset(vf(0)),
        set(5),
    ];
    let meanwhile = all.map(|request| world.begin(request));
    world.settle();
    for ticket in meanwhile {
        let refusal = world.replies.remove(&ticket).expect("answered").expect_err("refused");
        assert!(refusal.to_string().contains("is being changed to 3"), "{refusal}");
    }
    assert_eq!(vfs(&world), 3);
    run(&mut world, "web", 1, 1);
}

#[test]
fn what_the_kernel_does_not_do_is_said_and_its_vfs_can_be_lent_again() {
    let mut world = with_network(igb(7));
    world.host.fail(FaultPoint::next(OpKind::NumVfs), FaultKind::errno(rustix::io::Errno::NOMEM));
    let refusal = world.ask(set(3)).expect_err("refused");
    assert_eq!(refusal.kind, RefusalKind::OperationFailed, "{refusal}");
    run(&mut world, "web", 1, 1);
}

#[test]
fn a_daemon_killed_at_any_point_of_a_change_leaves_nothing_of_anybodys_behind() {
    for point in 1..8 {
        for death in [Death::Point(point), Death::BeforeWrite(point), Death::AfterWrite(point)] {
            let mut world = with_network(igb(7));
            world.die_at(death);
            world.begin(set(3));
            world.settle();
            world.live_on();
            assert!(world.state().claims.is_empty());
            // Whatever was left is made right by asking again.
            granted(world.ask(set(3)));
            assert_eq!(vfs(&world), 3, "{death:?}");
            run(&mut world, "web", 1, 1);
            granted(world.ask(destroy("web")));
        }
    }
}

#[test]
fn a_pf_is_neither_detached_nor_reset_and_those_who_have_its_vfs_are_named() {
    let mut world = with_network(igb(3));
    run(&mut world, "web", 1, 2);
    for request in [
        Request::DeviceDetach { device: pci(PF), driver: None },
        Request::DeviceReattach(pci(PF)),
        Request::DeviceReset(pci(PF)),
    ] {
        let why = refused(&mut world, request, RefusalKind::Unsupported);
        assert!(why.contains("is a PF, whose VFs are lent"), "{why}");
        assert!(why.contains("0000:01:10.0 held by guest web, and 1 more"), "{why}");
    }
}

#[test]
fn of_very_many_holders_the_first_are_named_and_the_others_counted() {
    let builder = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::I40e);
    let mut world = with_network(builder.vfs(40).build());
    for number in 0..30 {
        run(&mut world, &format!("g{number}"), number + 1, 1);
    }
    let stop = Request::NetworkDestroy { network: net("hw"), force: false };
    let why = refused(&mut world, stop, RefusalKind::OperationInvalid);
    assert!(why.contains("held by guest g0;"), "{why}");
    assert!(why.contains("held by guest g23; and 6 more holders"), "{why}");
    assert!(!why.contains("guest g24"), "{why}");
    assert!(why.len() < 2000, "{} bytes", why.len());
}
