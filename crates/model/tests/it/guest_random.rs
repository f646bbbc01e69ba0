//! Guests made by lot, and documents damaged by lot.

use proptest::prelude::*;
use vfnet_model::guest::{Form, parse, print_with_secrets};

use crate::corpus;

/// Text as someone hostile would write it, without what XML cannot carry.
fn text() -> impl Strategy<Value = String> {
    "[ -~é€\u{85}]{1,40}"
}

proptest! {
    #[test]
    fn whatever_text_is_in_it_reads_as_it_was_printed(
        description in text(), path in text(), cmdline in text(), socket in text(),
        vcpus in 1_u32..=255, memory in 1_u64..(1 << 40), mac in any::<[u8; 5]>(),
        vlan in 0_u16..=4095, boot in proptest::option::of(1_u32..1000),
    ) {
        let mut guest = parse(&corpus::fixtures("guest")
            .into_iter()
            .find(|(name, _)| name == "virtual-function.xml")
            .unwrap()
            .1).unwrap();
        guest.cpu = None;
        guest.description = Some(description);
        (guest.vcpus, guest.current_vcpus) = (vcpus, vcpus.div_ceil(2));
        guest.memory_kib = memory;
        guest.current_memory_kib = memory;
        guest.os.kernel = Some(format!("/{path}"));
        guest.os.cmdline = Some(cmdline);
        guest.disks[0].boot = boot.map(|order| order + 10);
        let interface = &mut guest.interfaces[0];
        let [a, b, c, d, e] = mac;
        interface.mac = Some(vfnet_model::MacAddress::new([0x52, a | 1, b, c, d, e]));
        interface.vlan = Some(vlan.try_into().unwrap());
        guest.disks[0].source = Some(vfnet_model::guest::DiskSource::File(format!("/{socket}")));
        let printed = print_with_secrets(&guest, Form::Inactive);
        prop_assert_eq!(parse(&printed).unwrap(), guest);
    }

    #[test]
    fn a_damaged_document_is_answered_and_nothing_else(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..30,
        instead in "[<>/='&;a-z0-9\\-]{0,6}",
    ) {
        let documents = corpus::fixtures("guest");
        let text: Vec<char> = which.get(&documents).1.chars().collect();
        let from = at.index(text.len());
        let to = (from + length).min(text.len());
        let damaged: String =
            text[..from].iter().copied().chain(instead.chars()).chain(text[to..].iter().copied()).collect();
        if let Ok(guest) = parse(&damaged) {
            let printed = print_with_secrets(&guest, Form::Inactive);
            prop_assert_eq!(parse(&printed).unwrap(), guest);
        }
    }
}
