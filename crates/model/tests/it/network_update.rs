//! Changing one section of a network, and its metadata.

use vfnet_model::network::metadata::{Change, Item, MetadataError, get, set};
use vfnet_model::network::{Command, Form, Network, Section, UpdateError, parse, print, update};

const COMMANDS: [Command; 4] =
    [Command::Modify, Command::Delete, Command::AddFirst, Command::AddLast];

fn network(forward: &str, more: &str) -> Network {
    let text = format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'><name>n</name>\
         <forward mode='hostdev'>{forward}</forward>{more}</network>"
    );
    parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

fn invalid(outcome: Result<Network, UpdateError>, word: &str) {
    match outcome {
        Err(UpdateError::Invalid(message)) => assert!(message.contains(word), "{message}"),
        other => panic!("expected a refusal with '{word}', not {other:?}"),
    }
}

fn wrong(outcome: Result<Network, UpdateError>, word: &str) {
    match outcome {
        Err(UpdateError::Document(fault)) => {
            assert!(fault.to_string().contains(word), "{fault}");
        }
        other => panic!("expected a fault with '{word}', not {other:?}"),
    }
}

fn groups(network: &Network) -> Vec<&str> {
    network.portgroups.iter().map(|group| group.name.as_str()).collect()
}

fn printed_members(network: &Network) -> Vec<String> {
    print(network, Form::Inactive)
        .lines()
        .filter(|line| line.contains("<address") || line.contains("<interface"))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[test]
fn a_portgroup_is_added_changed_and_deleted_by_its_name() {
    let before = network("<pf dev='a'/>", "<portgroup name='b'/><portgroup name='c'/>");
    let act = |command, xml: &str| update(&before, command, Section::Portgroup, -1, xml);
    let first = act(Command::AddFirst, "<portgroup name='a'/>").unwrap();
    assert_eq!(groups(&first), ["a", "b", "c"]);
    let last = act(Command::AddLast, "<portgroup name='d'/>").unwrap();
    assert_eq!(groups(&last), ["b", "c", "d"]);
    let deleted = act(Command::Delete, "<portgroup name='b'/>").unwrap();
    assert_eq!(groups(&deleted), ["c"]);
    let modified =
        act(Command::Modify, "<portgroup name='b'><vlan><tag id='7'/></vlan></portgroup>").unwrap();
    assert_eq!(groups(&modified), ["b", "c"]);
    let tag = |network: &Network| network.vlan_for(None, Some("b")).map(|vlan| vlan.id.get());
    assert_eq!((tag(&before), tag(&modified)), (None, Some(7)));
    for outcome in [first, last, deleted, modified] {
        assert_eq!(parse(&print(&outcome, Form::Inactive)).unwrap(), outcome);
    }
}

#[test]
fn a_portgroup_that_is_there_already_or_is_not_there_is_refused() {
    let before = network("<pf dev='a'/>", "<portgroup name='b' default='yes'/>");
    let act = |command, xml: &str| update(&before, command, Section::Portgroup, -1, xml);
    for command in [Command::AddFirst, Command::AddLast] {
        invalid(act(command, "<portgroup name='b'/>"), "has already a portgroup 'b'");
        invalid(act(command, "<portgroup name='c' default='yes'/>"), "has 'b'");
    }
    for command in [Command::Modify, Command::Delete] {
        invalid(act(command, "<portgroup name='c'/>"), "does not have a portgroup 'c'");
    }
    act(Command::Modify, "<portgroup name='b' default='yes'/>").unwrap();
}

#[test]
fn no_update_makes_a_network_that_could_not_be_defined() {
    let before = network("<pf dev='a'/>", "<vfnet:pool><vfnet:vf maxRate='10'/></vfnet:pool>");
    for (xml, word) in [
        ("<portgroup name='g'><bandwidth><inbound average='1'/></bandwidth></portgroup>", "VF"),
        ("<portgroup name='g'><vlan trunk='yes'><tag id='1'/></vlan></portgroup>", "trunk"),
        ("<portgroup name='g'><virtualport type='openvswitch'/></portgroup>", "<virtualport>"),
        ("<portgroup name='g'><surprise/></portgroup>", "<surprise>"),
        ("<portgroup name='g'><vlan><tag id='4096'/></vlan></portgroup>", "4096"),
        (
            "<portgroup name='g'><v:vf xmlns:v='urn:vfnet:network:1' minRate='11'/></portgroup>",
            "minRate 11 is above maxRate 10",
        ),
        ("<portgroup/>", "'name'"),
        ("<group name='g'/>", "expecting <portgroup>"),
        ("<portgroup name='g'>", "not well-formed"),
    ] {
        wrong(update(&before, Command::AddLast, Section::Portgroup, -1, xml), word);
    }
}

#[test]
fn members_are_added_to_a_pool_of_their_kind_and_taken_from_it() {
    let act = |network: &Network, command, xml: &str| {
        update(network, command, Section::ForwardInterface, -1, xml)
    };
    let address = |slot: &str| {
        format!("<address type='pci' domain='0x0000' bus='0x02' slot='{slot}' function='0x1'/>")
    };
    let interface = |dev: &str| format!("<interface dev='{dev}'/>");
    let by_address = [address("0x10"), address("0x11"), address("0x12")];
    let by_interface = ["v0", "v1", "v2"].map(interface);
    for [first, middle, last] in [&by_address, &by_interface] {
        let one = act(&network("", ""), Command::AddLast, middle).unwrap();
        let two = act(&one, Command::AddLast, last).unwrap();
        let three = act(&two, Command::AddFirst, first).unwrap();
        assert_eq!(printed_members(&three), [first.as_str(), middle, last]);
        for command in [Command::AddFirst, Command::AddLast] {
            invalid(act(&three, command, middle), "has already the member");
        }
        let two = act(&three, Command::Delete, middle).unwrap();
        assert_eq!(printed_members(&two), [first.as_str(), last]);
        invalid(act(&two, Command::Delete, middle), "does not have the member");
        let one = act(&two, Command::Delete, first).unwrap();
        let none = act(&one, Command::Delete, last).unwrap();
        assert_eq!(none, network("", ""));
        assert!(matches!(act(&one, Command::Modify, last), Err(UpdateError::Unsupported(_))));
    }
}

#[test]
fn a_member_of_another_kind_poisons_no_pool() {
    let address = "<address type='pci' bus='2'/>";
    for (pool, other) in [
        ("<pf dev='a'/>", "<interface dev='b'/>"),
        ("<pf dev='a'/>", address),
        (address, "<interface dev='b'/>"),
        ("<interface dev='b'/>", address),
    ] {
        for command in [Command::AddFirst, Command::AddLast, Command::Delete] {
            let outcome = update(&network(pool, ""), command, Section::ForwardInterface, -1, other);
            invalid(outcome, "it has no member");
        }
    }
    let bridge = "<network><name>n</name><forward mode='bridge'/><bridge name='b'/></network>";
    let bridge = parse(bridge).unwrap();
    let section = Section::ForwardInterface;
    invalid(update(&bridge, Command::AddLast, section, -1, "<interface dev='b'/>"), "no pool");
    for (xml, word) in [
        ("<interface/>", "'dev'"),
        ("<address bus='2'/>", "'type'"),
        ("<address type='pci'/>", "empty"),
        ("<pf dev='a'/>", "expecting <interface>"),
        ("<interface dev='a' surprise='1'/>", "'surprise'"),
    ] {
        wrong(update(&network("", ""), Command::AddLast, section, -1, xml), word);
    }
}

#[test]
fn a_section_that_no_pool_of_vfs_has_is_refused_by_name() {
    let before = network("<pf dev='a'/>", "");
    for section in [
        Section::Bridge,
        Section::Domain,
        Section::Ip,
        Section::Forward,
        Section::ForwardPf,
        Section::DnsHost,
        Section::DnsTxt,
        Section::DnsSrv,
    ] {
        for command in COMMANDS {
            match update(&before, command, section, -1, "<pf dev='b'/>") {
                Err(UpdateError::Unsupported(message)) => {
                    assert!(message.contains(section.name()), "{message}");
                }
                other => panic!("{section:?}: {other:?}"),
            }
        }
    }
    for section in [Section::IpDhcpHost, Section::IpDhcpRange] {
        for command in COMMANDS {
            invalid(update(&before, command, section, -1, "<range/>"), "has no <ip> that serves");
            invalid(update(&before, command, section, 3, "<range/>"), "<ip> with index 3");
        }
    }
}

fn with_metadata(metadata: &str) -> Network {
    network("", metadata)
}

fn element<'a>(uri: &'a str, prefix: &'a str, xml: &'a str) -> Change<'a> {
    Change::SetElement { uri, prefix, xml }
}

#[test]
fn title_and_description_are_set_and_removed() {
    let mut network = network("", "<title>old</title>");
    assert_eq!(get(&network, Item::Title).as_deref(), Some("old"));
    assert_eq!(get(&network, Item::Description), None);
    set(&mut network, Change::Title(Some("new"))).unwrap();
    set(&mut network, Change::Description(Some("two\nlines"))).unwrap();
    assert_eq!(get(&network, Item::Title).as_deref(), Some("new"));
    assert_eq!(get(&network, Item::Description).as_deref(), Some("two\nlines"));
    let refused = set(&mut network, Change::Title(Some("two\nlines")));
    assert!(matches!(refused, Err(MetadataError::Argument(_))));
    assert_eq!(get(&network, Item::Title).as_deref(), Some("new"));
    set(&mut network, Change::Title(None)).unwrap();
    set(&mut network, Change::Description(Some(""))).unwrap();
    assert_eq!((&network.title, &network.description), (&None, &None));
}

#[test]
fn an_element_is_kept_under_its_namespace_and_given_back_as_it_was_handed_in() {
    let mut network = with_metadata("");
    let xml = "<foo a='1'><bar> &lt;text&gt; </bar><!-- <x> --><empty/></foo>";
    set(&mut network, element("urn:a", "app", xml)).unwrap();
    assert_eq!(
        network.metadata.as_deref().unwrap(),
        "<metadata>\n    <app:foo xmlns:app='urn:a' a='1'><app:bar> &lt;text&gt; </app:bar>\
         <!-- <x> --><app:empty/></app:foo>\n  </metadata>"
    );
    assert_eq!(get(&network, Item::Element { uri: "urn:a" }).as_deref(), Some(xml));
    assert_eq!(get(&network, Item::Element { uri: "urn:b" }), None);
    assert_eq!(parse(&print(&network, Form::Inactive)).unwrap(), network);

    set(&mut network, element("urn:b", "b", "<?xml version='1.0'?>\n<one/>\n")).unwrap();
    set(&mut network, element("urn:a", "other", "<two/>")).unwrap();
    assert_eq!(
        network.metadata.as_deref().unwrap(),
        "<metadata>\n    <b:one xmlns:b='urn:b'/>\n    <other:two xmlns:other='urn:a'/>\n  \
         </metadata>"
    );
    assert_eq!(get(&network, Item::Element { uri: "urn:a" }).as_deref(), Some("<two/>"));
    set(&mut network, Change::RemoveElement { uri: "urn:b" }).unwrap();
    set(&mut network, Change::RemoveElement { uri: "urn:b" }).unwrap();
    set(&mut network, Change::RemoveElement { uri: "urn:a" }).unwrap();
    assert_eq!(network.metadata, None);
}

#[test]
fn the_elements_of_others_stay_as_they_were_written() {
    let theirs = "<o:x\txmlns:o=\"urn:o\"  b = '2'>\n  <![CDATA[</o:x>]]> </o:x>";
    let mut network = with_metadata(&format!(
        "<metadata xmlns:p='urn:p'><!-- kept -->{theirs}\n      <p:mine q='1'><p:in/></p:mine>\n\
         </metadata>"
    ));
    let mine = get(&network, Item::Element { uri: "urn:p" });
    assert_eq!(mine.as_deref(), Some("<mine q='1'><in/></mine>"));
    set(&mut network, element("urn:p", "p", "<mine xmlns:p='urn:p' p:z='1'/>")).unwrap();
    let metadata = network.metadata.clone().unwrap();
    assert!(metadata.contains(&format!("<!-- kept -->{theirs}")), "{metadata}");
    let mine = get(&network, Item::Element { uri: "urn:p" });
    assert_eq!(mine.as_deref(), Some("<mine xmlns:p='urn:p' p:z='1'/>"));
    set(&mut network, Change::RemoveElement { uri: "urn:p" }).unwrap();
    let metadata = network.metadata.clone().unwrap();
    assert!(metadata.contains(&format!("<!-- kept -->{theirs}")), "{metadata}");
    assert!(!metadata.contains("mine"), "{metadata}");
    assert_eq!(parse(&print(&network, Form::Inactive)).unwrap(), network);
}

#[test]
fn an_element_of_a_default_namespace_is_found_and_given_back_without_it() {
    let network = with_metadata("<metadata><x xmlns='urn:x' y='1'><z/></x></metadata>");
    let found = get(&network, Item::Element { uri: "urn:x" });
    assert_eq!(found.as_deref(), Some("<x y='1'><z/></x>"));
    let mut network = with_metadata("");
    set(&mut network, element("urn:x", "x", "<x:y xmlns:x='urn:x'/>")).unwrap();
    assert_eq!(get(&network, Item::Element { uri: "urn:x" }).as_deref(), Some("<y/>"));
}

#[test]
fn an_element_that_is_none_leaves_the_metadata_alone() {
    let before = with_metadata("<metadata><a:x xmlns:a='urn:a'/></metadata>");
    for (uri, prefix, xml) in [
        ("urn:a", "a", "<x>"),
        ("urn:a", "a", ""),
        ("urn:a", "a", "text"),
        ("urn:a", "a", "<x/><y/>"),
        ("urn:a", "a", "<x xmlns='urn:other'/>"),
        ("urn:a", "a", "<x xmlns:a='urn:other'/>"),
        ("urn:a", "a", "<x><y xmlns:a='urn:other'><z/></y></x>"),
        ("urn:a", "", "<x/>"),
        ("urn:a", "a b='c'", "<x/>"),
        ("urn:a", "xmlns", "<x/>"),
        ("urn:a", "1", "<x/>"),
        ("", "a", "<x/>"),
        ("urn:a", &"a".repeat(65), "<x/>"),
        ("urn:a", "a", &format!("{}{}", "<x>".repeat(64), "</x>".repeat(64))),
        ("urn:a", "a", &format!("<x>{}</x>", "<y/>".repeat(700_000))),
    ] {
        let mut network = before.clone();
        let refused = set(&mut network, element(uri, prefix, xml));
        assert!(refused.is_err(), "{uri} {prefix} {}", xml.get(..80).unwrap_or(xml));
        assert_eq!(network, before);
    }
    for change in [Change::Title(Some("bell\u{7}")), Change::Description(Some("nul\0"))] {
        let mut network = before.clone();
        assert!(set(&mut network, change).is_err());
        assert_eq!(network, before);
    }
}
