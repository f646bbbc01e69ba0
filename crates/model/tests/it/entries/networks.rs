//! What has to hold of whatever stands where a network's document should.

use vfnet_model::network::{Form, Live, head, parse, print};

/// A document.
pub(crate) fn networks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Of documents that are handed on only the head is read, so it is read of worse ones too.
    let head = head(text);
    let Ok(network) = parse(text) else { return };
    let head = head.expect("what is read whole has a head");
    assert_eq!((&head.name, head.uuid), (&network.name, network.uuid));
    let printed = print(&network, Form::Inactive);
    assert_eq!(parse(&printed).as_ref(), Ok(&network), "{printed}");
    let live = print(&network, Form::Live(&Live { connections: 1, vfs: Vec::new() }));
    assert_eq!(parse(&live).as_ref(), Ok(&network), "{live}");
    // Whether it can be run is an answer, too.
    drop(network.served());
}
