//! What has to hold of whatever stands where a guest's document should.

use vfnet_model::guest::{Form, parse, parse_device, print, print_with_secrets};

/// A document, of a guest or of one device.
pub(crate) fn guests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(device) = parse_device(text) {
        let printed = device.print(None);
        let again = parse_device(&printed).unwrap_or_else(|fault| panic!("{fault}: {printed}"));
        assert_eq!(again.print(None), printed);
    }
    let Ok(guest) = parse(text) else { return };
    let printed = print_with_secrets(&guest, Form::Inactive);
    let again = parse(&printed).unwrap_or_else(|fault| panic!("{fault}: {printed}"));
    assert_eq!(print_with_secrets(&again, Form::Inactive), printed);
    let for_everybody = print(&guest, Form::Inactive);
    parse(&for_everybody).unwrap_or_else(|fault| panic!("{fault}: {for_everybody}"));
}
