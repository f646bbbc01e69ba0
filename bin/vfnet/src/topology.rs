//! `vfnet topology`: host, NUMA nodes, cards, PFs and VFs as a tree.

use std::collections::BTreeMap;

use serde::Serialize;
use vfnet_model::report::{AbsentPf, InventoryReport, PfReport, VfReport};
use vfnet_model::{PciAddress, legible};

use crate::screen::Screen;
use crate::views::{self, kept, link, vf_state};

/// The tree.
#[derive(Debug, Serialize)]
pub(crate) struct Topology {
    obstacle: Option<String>,
    nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<AbsentPf>,
}

#[derive(Debug, Serialize)]
struct Node {
    /// None where the firmware says none.
    numa_node: Option<u16>,
    cards: Vec<Card>,
}

/// What is in one PCI slot.
#[derive(Debug, Serialize)]
struct Card {
    /// Its address without a function: `0000:01:00`.
    slot: String,
    pfs: Vec<Port>,
}

#[derive(Debug, Serialize)]
struct Port {
    #[serde(flatten)]
    pf: PfReport,
    vfs: Vec<VfReport>,
}

impl Topology {
    pub(crate) fn of(report: InventoryReport) -> Self {
        let mut vfs: BTreeMap<PciAddress, Vec<VfReport>> = BTreeMap::new();
        for vf in report.vfs {
            vfs.entry(vf.pf).or_default().push(vf);
        }
        let mut nodes: BTreeMap<_, BTreeMap<String, Vec<Port>>> = BTreeMap::new();
        for pf in report.pfs {
            // Nodes by their numbers, what is at none behind them.
            let node = (pf.numa_node.is_none(), pf.numa_node);
            let slot = pf.address.to_string();
            let slot = slot.split_once('.').map_or(slot.as_str(), |(slot, _)| slot).to_owned();
            let vfs = vfs.remove(&pf.address).unwrap_or_default();
            nodes.entry(node).or_default().entry(slot).or_default().push(Port { pf, vfs });
        }
        let card = |(slot, pfs)| Card { slot, pfs };
        let node = |((_, numa_node), cards): (_, BTreeMap<_, _>)| Node {
            numa_node,
            cards: cards.into_iter().map(card).collect(),
        };
        Self {
            obstacle: report.obstacle,
            nodes: nodes.into_iter().map(node).collect(),
            absent: report.absent,
        }
    }

    /// As a picture. VFs next to each other of which the same is to be said share a line, unless
    /// `all` are wanted.
    pub(crate) fn draw(&self, pen: Pen, all: bool) -> String {
        if self.nodes.is_empty() && self.absent.is_empty() {
            return "No PFs: no card here can make VFs. `vfnet doctor` says more.\n".to_owned();
        }
        let mut text = String::new();
        pen.draw(&self.twig(all), &mut text);
        if let Some(obstacle) = &self.obstacle {
            text.push_str(&format!("\nNo VF can be lent: {}\n", legible(obstacle)));
        }
        text
    }

    fn twig(&self, all: bool) -> Twig {
        let ports = || self.nodes.iter().flat_map(|node| &node.cards).flat_map(|card| &card.pfs);
        let lent: usize = ports().map(|port| usize::from(port.pf.lent)).sum();
        let made: usize = ports().map(|port| usize::from(port.pf.num_vfs)).sum();
        let [pfs, vfs] = [(ports().count(), "PF"), (made, "VF")].map(counted);
        Twig {
            words: vec![plain("host"), plain(format!("{pfs}, {vfs}, {lent} lent"))],
            twigs: self
                .nodes
                .iter()
                .map(|node| node.twig(all))
                .chain((!self.absent.is_empty()).then(|| self.absent_twig()))
                .collect(),
        }
    }

    fn absent_twig(&self) -> Twig {
        let twig = |pf| Twig { words: vec![plain(views::on_record(pf))], twigs: Vec::new() };
        let words = vec![plain("not here".to_owned())];
        Twig { words, twigs: self.absent.iter().map(twig).collect() }
    }
}

fn counted((count, what): (usize, &str)) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl Node {
    fn twig(&self, all: bool) -> Twig {
        let name = self
            .numa_node
            .map_or_else(|| "at no NUMA node".to_owned(), |node| format!("NUMA node {node}"));
        let cards = self.cards.iter().map(|card| Twig {
            words: vec![plain(format!("card {}", card.slot))],
            twigs: card.pfs.iter().map(|port| port.twig(all)).collect(),
        });
        Twig { words: vec![plain(name)], twigs: cards.collect() }
    }
}

impl Port {
    fn twig(&self, all: bool) -> Twig {
        let pf = &self.pf;
        let colour = match (pf.up && pf.carrier, &pf.drained) {
            (_, Some(_)) => Colour::Yellow,
            (false, None) => Colour::Red,
            (true, None) => Colour::Green,
        };
        let driver = pf.driver.as_ref().map_or("no driver", |driver| driver.as_str());
        let mut words = vec![
            plain(pf.netdev.as_ref().map_or("(no interface)", |name| name.as_str())),
            plain(pf.address.to_string()),
            plain(driver),
            Word { text: link(pf), colour: Some(colour) },
            plain(format!("{} of {} VFs{}", pf.num_vfs, pf.total_vfs, kept(pf))),
        ];
        let networks: Vec<_> = pf.networks.iter().map(|name| name.as_str()).collect();
        words.extend(pf.physical_networks.iter().map(|name| plain(format!("cabled to {name}"))));
        if !networks.is_empty() {
            words.push(plain(format!("networks {}", networks.join(", "))));
        }
        Twig { words, twigs: self.vfs(all) }
    }

    fn vfs(&self, all: bool) -> Vec<Twig> {
        let alike = |a: &VfReport, b: &VfReport| {
            !all && a.index.0.checked_add(1) == Some(b.index.0)
                && a.holder.is_none()
                && b.holder.is_none()
                && vf_state(a) == vf_state(b)
        };
        self.vfs
            .chunk_by(alike)
            .filter_map(|vfs| Some(vfs_twig(vfs.first()?, vfs.last()?)))
            .collect()
    }
}

/// A VF, or all from one to another.
fn vfs_twig(first: &VfReport, last: &VfReport) -> Twig {
    let colour = match first.state.as_str() {
        "free" => Colour::Green,
        "held" | "lent" | "preparing" | "releasing" => Colour::Cyan,
        "unusable" => Colour::Yellow,
        _ => Colour::Red,
    };
    let state = Word { text: vf_state(first), colour: Some(colour) };
    let words = if first.index == last.index {
        let mac = first.mac.filter(|_| first.holder.is_some()).map(|mac| plain(mac.to_string()));
        let name = first.netdev.as_ref().map(|name| plain(name.as_str()));
        let words = [plain(format!("VF {}", first.index)), plain(first.address.to_string()), state];
        words.into_iter().chain(mac).chain(name).collect()
    } else {
        vec![plain(format!("VFs {}-{}", first.index, last.index)), state]
    };
    Twig { words, twigs: Vec::new() }
}

/// A line of the tree, and those below it.
#[derive(Debug)]
struct Twig {
    words: Vec<Word>,
    twigs: Vec<Self>,
}

#[derive(Debug)]
struct Word {
    text: String,
    colour: Option<Colour>,
}

fn plain(text: impl Into<String>) -> Word {
    Word { text: text.into(), colour: None }
}

#[derive(Clone, Copy, Debug)]
enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// What is drawn with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    /// Columns; lines that are longer are cut.
    width: Option<u16>,
    colour: bool,
    /// Whether there are more than ASCII's characters.
    unicode: bool,
}

/// Between words.
const GAP: &str = "  ";

impl Pen {
    pub(crate) fn of(screen: &Screen) -> Self {
        Self { width: screen.width, colour: screen.colour, unicode: is_utf8() }
    }

    fn draw(self, root: &Twig, text: &mut String) {
        self.line("", &root.words, text);
        self.below(root, "", text);
    }

    fn below(self, twig: &Twig, before: &str, text: &mut String) {
        let Some((last, others)) = twig.twigs.split_last() else { return };
        let [branch, trunk, last_branch] =
            if self.unicode { ["├─ ", "│  ", "└─ "] } else { ["|- ", "|  ", "`- "] };
        for twig in others {
            self.line(&format!("{before}{branch}"), &twig.words, text);
            self.below(twig, &format!("{before}{trunk}"), text);
        }
        self.line(&format!("{before}{last_branch}"), &last.words, text);
        self.below(last, &format!("{before}   "), text);
    }

    fn line(self, before: &str, words: &[Word], text: &mut String) {
        let mut room = self.width.map_or(usize::MAX, usize::from);
        text.push_str(&fitting(before, &mut room));
        for (place, word) in words.iter().enumerate() {
            if place > 0 {
                text.push_str(&fitting(GAP, &mut room));
            }
            let fits = fitting(&legible(&word.text).replace('\n', " "), &mut room);
            match word.colour.filter(|_| self.colour) {
                Some(colour) => text.push_str(&format!("\x1b[{}m{fits}\x1b[0m", colour as u8)),
                None => text.push_str(&fits),
            }
        }
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
    }
}

/// As much of a text as there is room for, which it takes.
fn fitting(text: &str, room: &mut usize) -> String {
    let fits: String = text.chars().take(*room).collect();
    *room -= fits.chars().count();
    fits
}

/// Whether the terminal's characters are UTF-8, as far as the environment says (locale(7)).
fn is_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use vfnet_model::vf::VfIndex;

    use super::*;

    const PAPER: Pen = Pen { width: None, colour: false, unicode: true };

    fn pf(address: &str, netdev: &str, numa_node: Option<u16>, vfs: u16) -> PfReport {
        PfReport {
            address: address.parse().expect("an address"),
            netdev: Some(netdev.parse().expect("a name")),
            mac: None,
            up: true,
            carrier: true,
            driver: Some("igb".parse().expect("a name")),
            num_vfs: vfs,
            total_vfs: 256,
            lent: 0,
            numa_node,
            networks: vec!["hw".parse().expect("a name")],
            drained: None,
            errors: None,
            kept_vfs: None,
            speed: None,
            physical_networks: Vec::new(),
        }
    }

    fn vf(pf: &PfReport, index: u16) -> VfReport {
        let devfn = 128 + index;
        let (slot, function) = (devfn / 8 % 32, devfn % 8);
        let bus = u16::from(pf.address.bus()) + devfn / 256;
        let address = format!("0000:{bus:02x}:{slot:02x}.{function}");
        VfReport {
            address: address.parse().expect("an address"),
            pf: pf.address,
            pf_netdev: pf.netdev.clone(),
            index: VfIndex(index),
            netdev: None,
            mac: Some("52:54:00:00:00:01".parse().expect("a MAC")),
            netdev_mac: None,
            vlan: None,
            driver: None,
            iommu_group: None,
            numa_node: pf.numa_node,
            state: "free".to_owned(),
            holder: None,
            why: None,
            network: None,
            drift: None,
        }
    }

    fn held(vf: VfReport, holder: &str) -> VfReport {
        VfReport { state: "held".to_owned(), holder: Some(holder.to_owned()), ..vf }
    }

    fn report(pfs: Vec<PfReport>, vfs: Vec<VfReport>) -> Topology {
        Topology::of(InventoryReport { obstacle: None, pfs, vfs, absent: Vec::new() })
    }

    fn two_cards() -> Topology {
        let [one, two] = ["0000:01:00.0", "0000:01:00.1"];
        let pfs = vec![
            PfReport { lent: 2, kept_vfs: Some(7), ..pf(one, "ens1f0", Some(0), 7) },
            PfReport {
                drained: Some("new cable".to_owned()),
                networks: Vec::new(),
                ..pf(two, "ens1f1", Some(0), 1)
            },
            PfReport { carrier: false, ..pf("0000:81:00.0", "ens9f0", None, 0) },
        ];
        let mut vfs: Vec<_> = (0..7).map(|index| vf(&pfs[0], index)).collect();
        vfs[1] = held(vfs[1].clone(), "guest web1");
        vfs[2] = held(vfs[2].clone(), "sleep (pid 4711)");
        let used = "its interface ens1f0v6 has the address 192.0.2.7/24";
        vfs[6] = VfReport {
            state: "unusable".to_owned(),
            why: Some(used.to_owned()),
            netdev: Some("ens1f0v6".parse().expect("a name")),
            ..vfs[6].clone()
        };
        vfs.push(vf(&pfs[1], 0));
        report(pfs, vfs)
    }

    #[test]
    fn what_a_pf_is_cabled_to_and_pfs_that_are_not_here_are_drawn() {
        let mut pf = pf("0000:01:00.0", "ens1f0", Some(0), 0);
        pf.speed = Some(1000);
        pf.physical_networks = vec!["provider".to_owned()];
        let absent = vec![AbsentPf {
            identity: "mac:02:11:22:33:44:01".parse().expect("an identity"),
            drained: None,
            kept_vfs: Some(8),
        }];
        let report = InventoryReport { obstacle: None, pfs: vec![pf], vfs: Vec::new(), absent };
        assert_snapshot!(Topology::of(report).draw(PAPER, false), @r"
        host  1 PF, 0 VFs, 0 lent
        ├─ NUMA node 0
        │  └─ card 0000:01:00
        │     └─ ens1f0  0000:01:00.0  igb  up, 1 Gbit/s  0 of 256 VFs  cabled to provider  networks hw
        └─ not here
           └─ PF mac:02:11:22:33:44:01: 8 VFs kept
        ");
    }

    #[test]
    fn a_host_is_drawn_from_its_nodes_to_its_vfs() {
        assert_snapshot!(two_cards().draw(PAPER, false), @r"
        host  3 PFs, 8 VFs, 2 lent
        ├─ NUMA node 0
        │  └─ card 0000:01:00
        │     ├─ ens1f0  0000:01:00.0  igb  up  7 of 256 VFs, kept  networks hw
        │     │  ├─ VF 0  0000:01:10.0  free
        │     │  ├─ VF 1  0000:01:10.1  held by guest web1  52:54:00:00:00:01
        │     │  ├─ VF 2  0000:01:10.2  held by sleep (pid 4711)  52:54:00:00:00:01
        │     │  ├─ VFs 3-5  free
        │     │  └─ VF 6  0000:01:10.6  its interface ens1f0v6 has the address 192.0.2.7/24  ens1f0v6
        │     └─ ens1f1  0000:01:00.1  igb  up, drained: new cable  1 of 256 VFs
        │        └─ VF 0  0000:01:10.0  free
        └─ at no NUMA node
           └─ card 0000:81:00
              └─ ens9f0  0000:81:00.0  igb  no carrier  0 of 256 VFs  networks hw
        ");
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_and_one_without_utf8_draws_in_ascii() {
        let pen = Pen { width: Some(40), colour: false, unicode: false };
        let drawn = two_cards().draw(pen, true);
        assert!(drawn.is_ascii() && drawn.lines().all(|line| line.len() <= 40), "{drawn}");
        assert!(drawn.lines().count() > 11, "all are wanted: {drawn}");
        let pen = Pen { colour: true, ..pen };
        let coloured = two_cards().draw(pen, true);
        assert!(coloured.contains("\x1b[36mheld"), "{coloured}");
        let mut bare = coloured;
        for colour in ["\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"] {
            bare = bare.replace(colour, "");
        }
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&bare), trimmed(&drawn));
    }

    #[test]
    fn a_host_with_sixteen_thousand_vfs_is_a_page() {
        let pfs = (0..64_u16).map(|card| {
            pf(&format!("{card:04x}:01:00.0"), &format!("ens{card}"), Some(card / 32), 256)
        });
        let pfs: Vec<_> = pfs.collect();
        let vfs = pfs.iter().flat_map(|pf| {
            let vfs = (0..256).map(move |index| vf(pf, index));
            vfs.map(|vf| if vf.index == VfIndex(9) { held(vf, "guest web1") } else { vf })
        });
        let vfs: Vec<_> = vfs.collect();
        let drawn = report(pfs, vfs).draw(PAPER, false);
        assert_eq!(drawn.lines().count(), 1 + 2 + 64 * (2 + 3));
        assert!(drawn.contains("VFs 10-255  free"), "{drawn}");
    }

    #[test]
    fn what_a_card_or_a_guest_is_called_commands_no_terminal() {
        let pf = pf("0000:01:00.0", "ens1f0", None, 1);
        let vf = held(vf(&pf, 0), "guest \x1b[2J\nweb1");
        let drawn = report(vec![pf], vec![vf]).draw(PAPER, false);
        assert!(!drawn.contains('\x1b') && drawn.lines().count() == 5, "{drawn}");
    }

    #[test]
    fn a_vf_that_is_missing_between_free_ones_is_not_counted_among_them() {
        let pf = pf("0000:01:00.0", "ens1f0", None, 4);
        let vfs = [0, 1, 3].map(|index| vf(&pf, index));
        let drawn = report(vec![pf], vfs.to_vec()).draw(PAPER, false);
        assert!(drawn.contains("VFs 0-1  free") && drawn.contains("VF 3  "), "{drawn}");
    }

    #[test]
    fn a_host_without_cards_is_said() {
        assert!(report(vec![], vec![]).draw(PAPER, false).contains("No PFs"));
    }
}
