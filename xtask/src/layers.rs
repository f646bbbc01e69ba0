//! The law of the layers: which crate may know which. ARCHITECTURE.md tells why.
//!
//! Read from `cargo metadata`, over normal dependencies; tests may use what they like.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What one crate must not reach, directly or through others.
struct Law {
    crate_name: &'static str,
    sentence: &'static str,
    /// The crates of this workspace that it may reach.
    may_know: &'static [&'static str],
    /// Libraries that it must not reach; a star at the end stands for any rest.
    never: &'static [&'static str],
}

const IO: &[&str] = &["tokio", "rustix", "netlink-*"];

const LAWS: &[Law] = &[
    Law {
        crate_name: "vfnet-model",
        sentence: "the model knows nothing but values and documents",
        may_know: &[],
        never: IO,
    },
    Law {
        crate_name: "vfnet-engine",
        sentence: "the engine decides over the model and does no I/O",
        may_know: &["vfnet-model"],
        never: IO,
    },
    Law {
        crate_name: "vfnet-rpc",
        sentence: "the wire is bytes in and bytes out",
        may_know: &["vfnet-model"],
        never: IO,
    },
    Law {
        crate_name: "vfnet-host",
        sentence: "the host does what it is told and knows no policy",
        may_know: &["vfnet-model"],
        never: &["tokio"],
    },
    Law {
        crate_name: "vfnet-host-sim",
        sentence: "the simulated host stands in for the host and knows no more than it",
        may_know: &["vfnet-model", "vfnet-host"],
        never: &["tokio"],
    },
    Law {
        crate_name: "vfnet-store",
        sentence: "the store keeps records of the engine and knows no kernel",
        may_know: &["vfnet-model", "vfnet-engine"],
        never: &["tokio", "netlink-*"],
    },
    Law {
        crate_name: "vfnet-qemu",
        sentence: "guests know the host, not who decides about them",
        may_know: &["vfnet-model", "vfnet-host"],
        never: &[],
    },
    Law {
        crate_name: "vfnetd",
        sentence: "the daemon carries no simulation",
        may_know: &[
            "vfnet-model",
            "vfnet-engine",
            "vfnet-host",
            "vfnet-store",
            "vfnet-qemu",
            "vfnet-rpc",
        ],
        never: &[],
    },
    Law {
        crate_name: "vfnet",
        sentence: "the command line is a client of the wire, and asks the store when there is no \
                   daemon",
        // The engine comes with the store, as the form of its records.
        may_know: &["vfnet-model", "vfnet-rpc", "vfnet-store", "vfnet-engine"],
        never: &["netlink-*", "tokio"],
    },
];

/// The one crate that may depend on netlink itself.
const NETLINK_OWNER: &str = "vfnet-host";
const NETLINK_SENTENCE: &str = "netlink is spoken in the host alone";

/// A source file longer than this is several things.
const LINE_LIMIT: usize = 800;

/// What breaks the law in this workspace, one line each.
///
/// # Errors
///
/// When cargo cannot describe the workspace.
pub(crate) fn violations(workspace: &Path) -> Result<Vec<String>> {
    let output = crate::stages::cargo()
        .args(["metadata", "--format-version", "1"])
        .current_dir(workspace)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let graph = Graph::from_metadata(&serde_json::from_slice(&output.stdout)?)?;
    let mut found = graph.violations();
    for folder in ["crates", "bin", "lab", "xtask"] {
        long_files(&workspace.join(folder), &mut found)?;
    }
    Ok(found)
}

fn long_files(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            long_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let lines = std::fs::read_to_string(&path)?.lines().count();
            if lines > LINE_LIMIT {
                found.push(format!("{} has {lines} lines, over {LINE_LIMIT}", path.display()));
            }
        }
    }
    Ok(())
}

/// Normal dependencies by crate name.
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn from_metadata(metadata: &Value) -> Result<Self> {
        let list = |pointer: &str| {
            let found = metadata.pointer(pointer).and_then(Value::as_array);
            found.with_context(|| format!("cargo metadata has no {pointer}"))
        };
        let mut names = BTreeMap::new();
        for package in list("/packages")? {
            if let (Some(id), Some(name)) = (package["id"].as_str(), package["name"].as_str()) {
                names.insert(id, name.to_owned());
            }
        }
        let name = |id: &Value| id.as_str().and_then(|id| names.get(id)).cloned();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list("/resolve/nodes")? {
            let from = name(&node["id"]).context("a node without a package")?;
            let to = edges.entry(from).or_default();
            for dependency in node["deps"].as_array().context("a node without deps")? {
                let kinds = dependency["dep_kinds"].as_array().context("deps without kinds")?;
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    to.extend(name(&dependency["pkg"]));
                }
            }
        }
        let members = list("/workspace_members")?.iter().filter_map(name).collect();
        Ok(Self { members, edges })
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for law in LAWS {
            for (target, path) in self.paths_from(law.crate_name) {
                let own = self.members.contains(target);
                let unknown = own && !law.may_know.contains(&target);
                if unknown || (!own && matches_any(law.never, target)) {
                    found.push(format!("{}: {}", path.join(" → "), law.sentence));
                }
            }
        }
        for member in self.members.iter().filter(|m| *m != NETLINK_OWNER) {
            for target in self.edges.get(member).into_iter().flatten() {
                if matches_any(&["netlink-*"], target) {
                    found.push(format!("{member} → {target}: {NETLINK_SENTENCE}"));
                }
            }
        }
        found
    }

    /// Everything that a crate reaches, with the shortest way there.
    fn paths_from<'a>(&'a self, start: &'a str) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut queue = VecDeque::from([vec![start]]);
        while let Some(path) = queue.pop_front() {
            let Some(last) = path.last() else { continue };
            for next in self.edges.get(*last).into_iter().flatten().map(String::as_str) {
                if next != start && !paths.contains_key(next) {
                    let mut longer = path.clone();
                    longer.push(next);
                    paths.insert(next, longer.clone());
                    queue.push_back(longer);
                }
            }
        }
        paths
    }
}

fn matches_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *pattern == name,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Graph;

    /// A `cargo metadata` document with these dependencies: from, to, kind.
    fn metadata(members: &[&str], dependencies: &[(&str, &str, Value)]) -> Value {
        let mut names: Vec<&str> = members.to_vec();
        names.extend(dependencies.iter().flat_map(|(from, to, _)| [*from, *to]));
        names.sort_unstable();
        names.dedup();
        let packages: Vec<Value> =
            names.iter().map(|n| json!({"id": format!("id:{n}"), "name": n})).collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|n| {
                let deps: Vec<Value> = dependencies
                    .iter()
                    .filter(|(from, _, _)| from == n)
                    .map(|(_, to, kind)| {
                        json!({"pkg": format!("id:{to}"), "dep_kinds": [{"kind": kind}]})
                    })
                    .collect();
                json!({"id": format!("id:{n}"), "deps": deps})
            })
            .collect();
        let members: Vec<String> = members.iter().map(|m| format!("id:{m}")).collect();
        json!({"packages": packages, "resolve": {"nodes": nodes}, "workspace_members": members})
    }

    fn violations(members: &[&str], dependencies: &[(&str, &str, Value)]) -> Vec<String> {
        let graph = Graph::from_metadata(&metadata(members, dependencies)).expect("metadata");
        graph.violations()
    }

    #[test]
    fn a_forbidden_library_is_found_through_another_with_the_way_to_it() {
        let found = violations(
            &["vfnet-engine"],
            &[("vfnet-engine", "serde", json!(null)), ("serde", "tokio", json!(null))],
        );
        assert_eq!(
            found,
            ["vfnet-engine → serde → tokio: the engine decides over the model and does no I/O"]
        );
    }

    #[test]
    fn a_crate_of_an_upper_layer_is_found() {
        let found = violations(
            &["vfnet-host", "vfnet-engine"],
            &[("vfnet-host", "vfnet-engine", json!(null))],
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("vfnet-host → vfnet-engine: "), "{found:?}");
    }

    #[test]
    fn the_daemon_with_a_simulation_inside_is_found() {
        let found =
            violations(&["vfnetd", "vfnet-host-sim"], &[("vfnetd", "vfnet-host-sim", json!(null))]);
        assert_eq!(found, ["vfnetd → vfnet-host-sim: the daemon carries no simulation"]);
    }

    #[test]
    fn netlink_outside_the_host_is_found_and_inside_it_is_not() {
        let found = violations(
            &["vfnet-host", "vfnet-qemu"],
            &[
                ("vfnet-host", "netlink-sys", json!(null)),
                ("vfnet-qemu", "vfnet-host", json!(null)),
                ("vfnet-qemu", "netlink-sys", json!(null)),
            ],
        );
        assert_eq!(found, ["vfnet-qemu → netlink-sys: netlink is spoken in the host alone"]);
    }

    #[test]
    fn what_only_tests_use_is_free() {
        let found = violations(&["vfnet-model"], &[("vfnet-model", "rustix", json!("dev"))]);
        assert_eq!(found, [""; 0]);
    }
}
