//! What has to hold of whatever stands where a port's document should.

use vfnet_model::port::{parse, print};

/// A document.
pub(crate) fn ports(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(port) = parse(text) else { return };
    let printed = print(&port);
    assert_eq!(parse(&printed).as_ref(), Ok(&port), "{printed}");
}
