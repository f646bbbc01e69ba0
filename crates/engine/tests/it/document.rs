//! `docs/life-of-a-vf.md` says what the code does.

use std::fs;
use std::path::Path;

use vfnet_engine::ClaimState;
use vfnet_engine::claim::{After, Happening};

const BEGIN: &str =
    "<!-- transitions: made from ClaimState::after, rewrite with VFNET_BLESS=1 -->\n";
const END: &str = "<!-- end of transitions -->";

fn states() -> Vec<ClaimState> {
    let driver = "vfio-pci".parse().expect("a driver name");
    vec![
        ClaimState::Preparing,
        ClaimState::Held { driver, group: 1 },
        ClaimState::Lent,
        ClaimState::Releasing,
        ClaimState::Vanished,
        ClaimState::Quarantined { reason: String::new() },
        ClaimState::Stuck { step: String::new() },
    ]
}

/// Every happening, and how the document calls it.
fn happenings() -> Vec<(&'static str, Happening)> {
    let driver = "vfio-pci".parse().expect("a driver name");
    vec![
        ("prepared", Happening::Prepared { driver, group: 1 }),
        ("handed over", Happening::HandedOver),
        ("done", Happening::Done),
        ("to be given back", Happening::GiveBack),
        ("clean", Happening::Clean),
        ("unclean", Happening::Unclean(String::new())),
        ("still open", Happening::StillOpen),
        ("no answer from the kernel", Happening::Stuck(String::new())),
        ("gone", Happening::Gone),
        ("restore", Happening::Restore),
    ]
}

fn table() -> String {
    let happenings = happenings();
    let names: Vec<_> = happenings.iter().map(|(name, _)| *name).collect();
    let mut table = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for state in states() {
        let cells: Vec<_> = happenings
            .iter()
            .map(|(_, happening)| match state.after(happening.clone()) {
                After::State(next) => next.word(),
                After::Free => "*free*",
                After::Nothing => "",
            })
            .collect();
        table.push_str(&format!("| **{}** | {} |\n", state.word(), cells.join(" | ")));
    }
    table
}

#[test]
fn the_documents_table_of_transitions_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/life-of-a-vf.md");
    let text = fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table's begin is marked");
    let (found, after) = rest.split_once(END).expect("the table's end is marked");
    let made = table();
    if std::env::var_os("VFNET_BLESS").is_some_and(|set| set == "1") {
        fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).expect("it can be written");
        return;
    }
    assert_eq!(found, made, "rewrite the table with VFNET_BLESS=1");
}
