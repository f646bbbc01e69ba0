//! What the daemon is told: command line, then configuration file, then defaults.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Deserialize;
use vfnet_model::MacPrefix;
use vfnet_model::network::PhysicalNetworks;
use vfnet_qemu::command_line::SPARE_ROOT_PORTS;
use vfnet_qemu::jail::Jail;
use vfnet_qemu::scope;
use vfnet_qemu::uid::{BadUidRange, UidRange};

use crate::unused::Policy;

/// Read when no other file is named.
const DEFAULT_FILE: &str = "/etc/vfnet/vfnetd.toml";

/// Lends SR-IOV virtual functions to virtual machines, and speaks libvirt's protocol.
///
/// Stays in the foreground and tells systemd when it is ready. State that must survive a power
/// cut lives in the state directory, what is true only until the next boot in the run directory.
#[derive(Parser, Clone, Debug)]
#[command(name = "vfnetd", version)]
pub struct Options {
    /// Definitions and the administrator's decisions
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Sockets, guests' run directories, and what is lent (should be on tmpfs)
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Where each guest's log is appended
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Configuration file (TOML) [default: /etc/vfnet/vfnetd.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also serve as libvirt's network daemon on this socket
    #[arg(long, value_name = "PATH")]
    pub network_socket: Option<PathBuf>,
    /// Print the protocol's procedures, who may call each and whether it is served, and exit
    #[arg(long)]
    pub list_procedures: bool,
    /// Log more: once for what is done, twice for every step
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// See [`Options::state_dir`].
    pub state_dir: PathBuf,
    /// See [`Options::run_dir`].
    pub run_dir: PathBuf,
    /// Where each guest's log is appended.
    pub log_dir: PathBuf,
    /// Group that may use the read-write socket; without it, root alone may.
    pub socket_group: Option<String>,
    /// First user id of guests.
    pub guest_uid_first: u32,
    /// How many user ids guests may have.
    pub guest_uid_count: u16,
    /// What keeps guests from the host's devices, besides their user ids.
    pub jail: JailSetting,
    /// QEMU, where a guest's document names none.
    pub emulator: PathBuf,
    /// What MACs begin with that are made up.
    pub mac_prefix: MacPrefix,
    /// Which PFs, by interface or PCI address, are on which physical network.
    pub physical_networks: PhysicalNetworks,
    /// PCI Express root ports left free on a q35 guest, for devices plugged in while it runs.
    pub spare_root_ports: u8,
    /// Seconds until autostart that still waits says so.
    pub autostart_patience: u64,
    /// Seconds between looks at the host that nothing has announced; 0 for none.
    pub look_interval: u32,
    /// Seconds that no process may have the VF of another daemon's port open until the port counts
    /// as unused; 0 for ever.
    pub port_grace: u64,
    /// What is done with such a port.
    pub unused_ports: Policy,
    /// Users who may only read, whatever their groups and whichever socket they use.
    pub read_only_users: Vec<User>,
    /// Connections at once of those who may change things.
    pub max_clients: NonZeroU16,
    /// Connections at once of everybody else; they keep no administrator out.
    pub max_read_only_clients: NonZeroU16,
    /// Of those, the most of one user other than root.
    pub max_read_only_clients_per_user: NonZeroU16,
    /// Calls of one client under way at once.
    pub max_client_requests: NonZeroU16,
    /// Seconds within which a connection has to be opened.
    pub handshake_timeout: NonZeroU32,
    /// Idle seconds until a client that understands pings is sent one; 0 or less for none.
    pub keepalive_interval: i64,
    /// Pings that a client may leave unanswered.
    pub keepalive_count: u32,
    /// Directory of libvirt's network hook scripts, `network` and `network.d/*`; without it
    /// none are called.
    pub network_hooks: Option<PathBuf>,
    /// Seconds that a hook script may take.
    pub hook_timeout: u64,
    /// Socket of the stock network daemon that networks are handed on to which vfnet does not
    /// serve; without it they are refused.
    pub network_daemon: Option<PathBuf>,
    /// Seconds that a call which is handed on may take.
    pub network_daemon_patience: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/vfnet"),
            run_dir: PathBuf::from("/run/vfnet"),
            log_dir: PathBuf::from("/var/log/vfnet"),
            socket_group: Some("vfnet".to_owned()),
            guest_uid_first: 1_879_048_192,
            guest_uid_count: 4096,
            jail: JailSetting::Auto,
            emulator: PathBuf::from("/usr/bin/qemu-system-x86_64"),
            mac_prefix: MacPrefix::QEMU,
            physical_networks: PhysicalNetworks::new(),
            spare_root_ports: SPARE_ROOT_PORTS,
            autostart_patience: 60,
            look_interval: 30,
            port_grace: 300,
            unused_ports: Policy::Report,
            read_only_users: Vec::new(),
            max_clients: NonZeroU16::MIN.saturating_add(511),
            max_read_only_clients: NonZeroU16::MIN.saturating_add(255),
            max_read_only_clients_per_user: NonZeroU16::MIN.saturating_add(63),
            max_client_requests: NonZeroU16::MIN.saturating_add(4),
            handshake_timeout: NonZeroU32::MIN.saturating_add(9),
            keepalive_interval: 5,
            keepalive_count: 5,
            network_hooks: None,
            hook_timeout: 30,
            network_daemon: None,
            network_daemon_patience: 30,
        }
    }
}

/// Which [`Jail`] guests are kept in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum JailSetting {
    /// A scope where systemd runs, a namespace where it does not.
    Auto,
    /// A `/dev` of its own for each guest, or no guest.
    Namespace,
    /// A systemd scope for each guest, or no guest.
    Scope,
    /// None.
    None,
}

impl JailSetting {
    /// What it means on this machine.
    pub fn here(self) -> Jail {
        match self {
            Self::Auto if scope::systemd_runs() => Jail::Scope,
            Self::Scope => Jail::Scope,
            Self::Auto | Self::Namespace => Jail::Namespace,
            Self::None => Jail::None,
        }
    }
}

/// A user, by name or by number.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum User {
    /// A name of `/etc/passwd`.
    Name(String),
    /// A user id, for users that are somewhere else too.
    Id(u32),
}

impl User {
    /// The user's number, by the text of `/etc/passwd`.
    fn id(&self, passwd: &str) -> Result<u32, ConfigError> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Name(name) => passwd
                .lines()
                .find_map(|line| {
                    let mut fields = line.split(':');
                    (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
                })
                .ok_or_else(|| ConfigError::User(name.clone())),
        }
    }
}

/// The configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, or a file that was named is not there.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something that is not understood.
    #[error("{path} is not understood")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Guests cannot have these user ids.
    #[error("guest_uid_first and guest_uid_count cannot be used")]
    Uids(#[from] BadUidRange),
    /// Somebody who is to be kept from changing anything is not known.
    #[error("read_only_users: there is no user '{0}' in /etc/passwd; a number is taken as it is")]
    User(String),
}

impl Config {
    /// The file's settings with the command line's over them. The default file need not be there.
    pub fn load(options: &Options) -> Result<Self, ConfigError> {
        let mut config = match &options.config {
            Some(path) => Self::read(path)?,
            None => match Self::read(Path::new(DEFAULT_FILE)) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    Self::default()
                }
                read => read?,
            },
        };
        if let Some(dir) = &options.state_dir {
            config.state_dir.clone_from(dir);
        }
        if let Some(dir) = &options.run_dir {
            config.run_dir.clone_from(dir);
        }
        if let Some(dir) = &options.log_dir {
            config.log_dir.clone_from(dir);
        }
        Ok(config)
    }

    /// The user ids that guests may have.
    pub fn guest_uids(&self) -> Result<UidRange, ConfigError> {
        Ok(UidRange::new(self.guest_uid_first, self.guest_uid_count.into())?)
    }

    /// The numbers of the users who may only read. One whose name is not known is an error: he
    /// would be let in as an administrator.
    pub fn readers(&self) -> Result<BTreeSet<u32>, ConfigError> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        self.read_only_users.iter().map(|user| user.id(&passwd)).collect()
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_never_run_as_root() {
        let config = Config { guest_uid_first: 0, ..Config::default() };
        assert!(matches!(config.guest_uids(), Err(ConfigError::Uids(BadUidRange::Root))));
        Config::default().guest_uids().unwrap();
    }

    #[test]
    fn readers_are_named_or_numbered_and_an_unknown_name_is_refused() {
        let read = |list: &str| toml::from_str::<Config>(&format!("read_only_users = {list}"));
        let readers = read("['root', 1005]").unwrap().readers().unwrap();
        assert_eq!(readers, BTreeSet::from([0, 1005]));
        let unknown = read("['nobody-has-this-name']").unwrap().readers();
        assert!(matches!(unknown, Err(ConfigError::User(name)) if name == "nobody-has-this-name"));
        read("[-1]").unwrap_err();
    }

    #[test]
    fn the_file_that_is_shipped_names_settings_that_there_are() {
        let shipped = include_str!("../../../packaging/vfnetd.toml");
        let is_setting = |line: &&str| {
            line.split_once(" = ").is_some_and(|(name, _)| !name.contains(char::is_whitespace))
        };
        let settings: Vec<_> =
            shipped.lines().filter_map(|line| line.strip_prefix('#')).filter(is_setting).collect();
        assert!(settings.len() > 15, "{settings:?}");
        toml::from_str::<Config>(&settings.join("\n")).unwrap();
    }

    #[test]
    fn a_limit_of_nobody_is_refused() {
        toml::from_str::<Config>("max_clients = 0").unwrap_err();
        assert_eq!(toml::from_str::<Config>("max_clients = 3").unwrap().max_clients.get(), 3);
        let limits = Config::default();
        let limits = [limits.max_clients, limits.max_read_only_clients, limits.max_client_requests];
        assert_eq!(limits.map(NonZeroU16::get), [512, 256, 5]);
    }

    #[test]
    fn a_setting_that_is_not_known_is_refused_and_so_is_a_missing_file_that_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vfnetd.toml");
        let options =
            Options::parse_from(["vfnetd".as_ref(), "--config".as_ref(), path.as_os_str()]);
        assert!(matches!(Config::load(&options), Err(ConfigError::Read { .. })));
        std::fs::write(&path, "run_dir = '/tmp/x'\n").unwrap();
        assert_eq!(Config::read(&path).unwrap().run_dir, Path::new("/tmp/x"));
        std::fs::write(&path, "run_dri = '/tmp/x'\n").unwrap();
        let Err(ConfigError::Syntax { .. }) = Config::read(&path) else {
            panic!("a misspelt setting was taken")
        };
    }
}
