//! What the README tells people to write and type is what the programs take.

use crate::run;

const README: &str = include_str!("../../../../README.md");

/// What is between the first `start` and the `end` behind it, both included.
fn between(start: &str, end: &str) -> &'static str {
    let from = &README[README.find(start).expect("it begins")..];
    &from[..from.find(end).expect("it ends") + end.len()]
}

#[test]
fn its_documents_can_be_used_as_they_are() {
    let network = vfnet_model::network::parse(between("<network xmlns", "</network>"));
    assert_eq!(network.expect("a network").name.as_str(), "hw");
    let guest = vfnet_model::guest::parse(between("<domain ", "</domain>"));
    assert_eq!(guest.expect("a guest").name.as_str(), "web1");
}

#[test]
fn its_commands_are_understood() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let lines = README.lines().map(|line| line.trim_start_matches("$ "));
    let typed = lines.filter(|line| line.starts_with("vfnet "));
    let quoted = README.split('`').filter(|piece| piece.starts_with("vfnet "));
    let mut tried = 0;
    for command in typed.chain(quoted) {
        // Two spaces stand before a remark.
        let command = command.split("  ").next().unwrap_or_default();
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        let ran = run(&dir.path().join("socket"), &args);
        assert!(matches!(ran.code, Some(1 | 3)), "{command}: {:?}\n{}", ran.code, ran.stderr);
        tried += 1;
    }
    assert!(tried >= 10, "only {tried} commands were found");
}

#[test]
fn its_exit_codes_are_those_of_the_help() {
    let help = run("/nowhere".as_ref(), &["--help"]).stdout;
    for code in 0..=4 {
        let (start, said) = (format!("| {code} | "), format!("\n  {code}  "));
        let row = README.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix(" |"));
        let row = row.expect("a row for each code");
        assert!(help.contains(&format!("{said}{row}\n")), "{code} is '{row}' in the README");
    }
}
