//! What can be asked for, and how that is explained to people.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vfnet_model::MacAddress;
use vfnet_rpc::procedures::Access;

/// Where the daemon listens unless it is told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/vfnet/libvirt-sock";

const FIRST_STEPS: &str = "\
First steps:
  vfnet doctor                  what this host lacks, and how to mend it
  vfnet pf ls                   the cards, and how many VFs each has
  vfnet net define hw.xml       a network whose ports are VFs
  vfnet net start hw
  vfnet guest define web1.xml   a guest with <interface type='network'>
  vfnet guest start web1
  vfnet vf ls                   who has which VF, and why others cannot be lent

Exit codes:
  0  done
  1  refused or failed; the reason is on stderr
  2  wrong usage
  3  the daemon cannot be reached
  4  no such network, guest or device

Environment:
  VFNET_SOCKET   the daemon's socket, where --socket is not given";

/// Lends SR-IOV virtual functions to virtual machines
#[derive(Debug, Parser)]
#[command(name = "vfnet", version, after_help = FIRST_STEPS, max_term_width = 100)]
pub(crate) struct Options {
    /// The daemon's socket [default: $VFNET_SOCKET, else /run/vfnet/libvirt-sock]
    ///
    /// Commands that only read fall back to the socket PATH-ro beside it when this one is not
    /// permitted.
    #[arg(long, value_name = "PATH", global = true, help_heading = "For every command")]
    pub(crate) socket: Option<PathBuf>,

    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = "For every command")]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at what this host lacks to lend VFs, and how to mend it
    ///
    /// Ends with exit code 1 when something keeps VFs from being lent.
    Doctor,
    /// Show the daemon: its version, its process, its directories
    Status,
    /// Draw the host: NUMA nodes, cards, PFs, and their VFs with who has each
    ///
    /// VFs side by side that are alike and nobody's share a line. Lines are cut at the terminal's
    /// width; where the output is no terminal they are whole, and without colours.
    #[command(after_help = "\
Examples:
  vfnet topology
  vfnet topology --all | less")]
    Topology {
        /// A line for every VF
        #[arg(long)]
        all: bool,
    },
    /// Physical functions: the cards
    #[command(subcommand)]
    Pf(PfCommand),
    /// Virtual functions: what is lent
    #[command(subcommand)]
    Vf(VfCommand),
    /// Networks, whose ports are VFs
    #[command(subcommand)]
    Net(NetCommand),
    /// Guests
    #[command(subcommand)]
    Guest(GuestCommand),
    /// Ports: VFs that are lent, and to whom
    #[command(subcommand)]
    Port(PortCommand),
    /// Lend a VF to a program for as long as it runs
    ///
    /// A VF of the network is bound to VFIO and gets its MAC and the network's settings; then this
    /// command becomes the program. When the program ends, however it ends, the VF goes back as it
    /// was, also when vfnetd was not there at that moment: its next start finds out. A process that
    /// the program leaves behind with the VF open has it quarantined.
    ///
    /// In the program's arguments {bdf} (0000:01:10.0), {sysfs} (/sys/bus/pci/devices/0000:01:10.0),
    /// {vfio-group} (as in /dev/vfio/17: 17) and {mac} stand for what was lent; other braces stay
    /// as they are. The program finds the same in its environment, as VFNET_BDF, VFNET_SYSFS,
    /// VFNET_VFIO_GROUP and VFNET_MAC, beside VFNET_NETWORK.
    #[command(after_help = EXEC)]
    Exec(ExecOptions),
    /// Show what has happened lately, and what happens from now on: networks, guests, VFs, repairs
    ///
    /// The daemon keeps the last thousand events since its start; its log has them all. With
    /// --json, each is an object on a line of its own.
    #[command(after_help = "\
Examples:
  vfnet events
  vfnet events --no-follow --lines 20
  vfnet events --lines 0 --json | jq 'select(.event == \"vf-repaired\")'")]
    Events(EventsOptions),
    /// Write everything that is kept to plain XML files, where a libvirt host has them
    ///
    /// Networks, guests, what starts with the host, and, of active networks, the ports of other
    /// daemons' guests. Files may hold guests' passwords, and are for their owner alone.
    #[command(after_help = EXPORT)]
    Export(ExportOptions),
    /// Take over the networks, guests and running ports of a libvirt host, or of an export
    ///
    /// What is there already stays as it is: a second run changes nothing. What cannot be taken
    /// over is listed with its reason, and ends the command with exit code 1; the rest is taken
    /// over all the same. Nothing of libvirt's is changed.
    #[command(after_help = IMPORT)]
    Import(ImportOptions),
    /// What vfnetd writes down: whether it is whole, and a way on when it is not
    #[command(subcommand)]
    State(StateCommand),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  vfnet completions bash > /etc/bash_completion.d/vfnet
  vfnet completions zsh  > /usr/share/zsh/site-functions/_vfnet
  vfnet completions fish > ~/.config/fish/completions/vfnet.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether it is only to be said what the daemon would do.
    pub(crate) const fn only_plans(&self) -> bool {
        use GuestCommand as G;
        use NetCommand as N;
        let planning = match self {
            Self::Pf(
                PfCommand::Set { planning, .. }
                | PfCommand::Forget { planning, .. }
                | PfCommand::Drain { planning, .. }
                | PfCommand::Undrain { planning, .. },
            )
            | Self::Vf(VfCommand::Restore { planning, .. }) => planning,
            Self::Net(N::Define(document) | N::Create(document))
            | Self::Guest(G::Define(document) | G::Create { document, .. }) => &document.planning,
            Self::Net(
                N::Start(which)
                | N::Destroy { which, .. }
                | N::Undefine(which)
                | N::Autostart { which, .. },
            )
            | Self::Guest(
                G::Start { which, .. }
                | G::Destroy(which)
                | G::Shutdown { which, .. }
                | G::Reboot(which)
                | G::Reset(which)
                | G::Suspend(which)
                | G::Resume(which)
                | G::Undefine { which, .. }
                | G::Autostart { which, .. },
            ) => &which.planning,
            _ => return false,
        };
        planning.plan
    }

    /// What the command needs of the daemon; what only reads may use the read-only socket.
    pub(crate) fn access(&self) -> Access {
        let reads = match self {
            Self::Doctor
            | Self::Status
            | Self::Topology { .. }
            | Self::Port(_)
            | Self::Events(_) => true,
            // Without the daemon.
            Self::State(_) | Self::Completions { .. } => true,
            // A document with its passwords is not for who may only read.
            Self::Export(_) | Self::Import(_) | Self::Exec(_) => false,
            Self::Pf(command) => matches!(command, PfCommand::Ls),
            Self::Vf(command) => matches!(command, VfCommand::Ls),
            Self::Net(command) => matches!(
                command,
                NetCommand::Ls(_)
                    | NetCommand::Show(_)
                    | NetCommand::Dumpxml { .. }
                    | NetCommand::Explain { .. }
            ),
            Self::Guest(command) => matches!(
                command,
                GuestCommand::Ls(_) | GuestCommand::Show(_) | GuestCommand::Dumpxml { .. }
            ),
        };
        if reads { Access::Read } else { Access::Write }
    }
}

const EXEC: &str = "\
Examples:
  vfnet exec --network hw -- dpdk-testpmd -a {bdf} -- --stats-period 1
  vfnet exec --network hw --mac 52:54:00:6b:3c:58 -- \\
      cloud-hypervisor --kernel vmlinux --memory size=1G --device path={sysfs}
  vfnet exec --network hw -- qemu-system-x86_64 -machine q35 -device vfio-pci,host={bdf}
  vfnet exec --network red -- vfnet exec --network blue -- sh -c 'echo $VFNET_BDF'

Exit codes: the program's own; those of `vfnet` where no VF was lent; 126 where the program cannot
be run, 127 where it is not found.";

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    /// The network
    #[arg(long, value_name = "NAME")]
    pub(crate) network: String,
    /// The VF's MAC [default: one is made up]
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<MacAddress>,
    /// A portgroup of the network
    #[arg(long, value_name = "NAME")]
    pub(crate) portgroup: Option<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsOptions {
    /// End after what has happened already
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Of what has happened already, only the last so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u16>,
}

const EXPORT: &str = "\
Files:
  DIR/qemu/networks/NAME.xml               networks
  DIR/qemu/NAME.xml                        guests
  DIR/qemu/[networks/]autostart/NAME.xml   what starts with the host
  DIR/running/network/NAME.xml             active networks
  DIR/running/network/NAME/ports/UUID.xml  their ports, where other daemons run the guest

Examples:
  vfnet export /var/backups/vfnet
  vfnet import /var/backups/vfnet";

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Where to; made where it does not exist
    pub(crate) dir: PathBuf,
    /// Replace files that are there; without it, none is written then
    #[arg(long)]
    pub(crate) force: bool,
}

const IMPORT: &str = "\
Examples:
  vfnet import --from-libvirt --plan   what would be taken over, and what not
  vfnet import --from-libvirt
  vfnet import /var/backups/vfnet";

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// A directory that `vfnet export` has written
    #[arg(required_unless_present = "from_libvirt")]
    pub(crate) dir: Option<PathBuf>,
    /// This host's libvirt: /etc/libvirt and /run/libvirt
    #[arg(long, conflicts_with = "dir")]
    pub(crate) from_libvirt: bool,
    /// Where the libvirt host's root directory is
    #[arg(long, value_name = "DIR", requires = "from_libvirt")]
    pub(crate) root: Option<PathBuf>,
    /// Only networks and their ports, for a host whose guests stay with libvirt
    #[arg(long)]
    pub(crate) networks: bool,
    /// Only say what would be done
    #[arg(long, alias = "dry-run")]
    pub(crate) plan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatePlaces {
    /// Where state.db is; as the daemon has it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/vfnet")]
    pub(crate) state_dir: PathBuf,
    /// Where live.db is; as the daemon has it
    #[arg(long, value_name = "DIR", default_value = "/run/vfnet")]
    pub(crate) run_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Look for damage and contradictions in state.db and live.db, and change nothing
    ///
    /// Works beside the daemon and without it. Ends with exit code 1 when something is found.
    Check(StatePlaces),
    /// Put new files in the place of damaged ones, with what can be read of them
    ///
    /// Damaged files are kept, as FILE.damaged-SECONDS; files without damage are left alone. Only
    /// while the daemon does not run. Guests run on: the daemon finds them, and the VFs that they
    /// have, at its next start.
    #[command(after_help = "\
Example:
  systemctl stop vfnetd.socket vfnetd-ro.socket vfnetd
  vfnet state rebuild
  systemctl start vfnetd.socket vfnetd-ro.socket vfnetd
  vfnet state check")]
    Rebuild {
        #[command(flatten)]
        places: StatePlaces,
        #[command(flatten)]
        planning: Planning,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PfCommand {
    /// List PFs: MAC, link, driver, VFs there are, can be and are lent
    Ls,
    /// Have a PF make another number of VFs
    ///
    /// Refused, with the list of those who would be hit, while anybody has one of them: the kernel
    /// changes the number only by way of 0, and does not ask. The number is kept: vfnetd makes the
    /// VFs again whenever it finds the card without any, after a reboot before it says that it is
    /// ready. 0 keeps none.
    #[command(after_help = "\
Examples:
  vfnet pf set ens1f0 --vfs 7
  vfnet pf set 0000:01:00.0 --vfs 0
  vfnet pf set ens1f0 --vfs 4 --once")]
    Set {
        /// PCI address, or interface
        pf: String,
        /// How many VFs it is to have
        #[arg(long, value_name = "N")]
        vfs: u16,
        /// Only now: what is kept for the next boot, and for when the card comes again, stays
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        planning: Planning,
    },
    /// Keep no number of VFs for a PF any more; those that there are stay
    #[command(after_help = "\
Example:
  vfnet pf forget ens1f0")]
    Forget {
        /// PCI address, interface, or what vfnet pf ls calls a PF that is not here
        pf: String,
        #[command(flatten)]
        planning: Planning,
    },
    /// Lend none of a PF's VFs any more, also after a reboot; those that are lent stay so
    #[command(after_help = "\
Example:
  vfnet pf drain ens1f0 --why 'cable is replaced on Friday'")]
    Drain {
        /// PCI address, or interface
        pf: String,
        /// Why, for whoever meets it
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        planning: Planning,
    },
    /// Lend a drained PF's VFs again
    #[command(after_help = "\
Examples:
  vfnet pf undrain ens1f0
  vfnet pf undrain mac:00:1b:21:aa:bb:cc    its card is not in the host now; see vfnet pf ls")]
    Undrain {
        /// PCI address, interface, or what vfnet pf ls calls a PF that is not here
        pf: String,
        #[command(flatten)]
        planning: Planning,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VfCommand {
    /// List VFs: MAC, VLAN, driver, IOMMU group, NUMA node, and who has each or why it is not lent
    #[command(after_help = "\
Examples:
  vfnet vf ls
  vfnet vf ls --json | jq -r '.[] | select(.state == \"free\") | .address'")]
    Ls,
    /// Give a quarantined or stuck VF another try
    ///
    /// Puts the VF back to what it was, or to its driver's baseline, and frees it.
    #[command(after_help = "\
Examples:
  vfnet vf restore 0000:01:10.2
  vfnet vf restore ens1f0v1")]
    Restore {
        /// PCI address, or interface on the host
        vf: String,
        #[command(flatten)]
        planning: Planning,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortCommand {
    /// List ports: VF, owner, MAC, VLAN, network
    Ls,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name or UUID
    pub(crate) name: String,
}

/// What is to be changed.
#[derive(Debug, Args)]
pub(crate) struct Changed {
    /// Name or UUID
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) planning: Planning,
}

/// A document that changes something.
#[derive(Debug, Args)]
pub(crate) struct Document {
    /// The XML document; - for stdin
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) planning: Planning,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Planning {
    /// Only say, step by step, what would be done and who would be hit, or why it would be refused
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Active and inactive ones
    #[arg(long)]
    pub(crate) all: bool,
    /// Inactive ones only
    #[arg(long, conflicts_with = "all")]
    pub(crate) inactive: bool,
}

impl Listing {
    /// What is said when nothing is listed; `all` is the command that lists more.
    pub(crate) fn nothing(&self, what: &str, all: &str) -> String {
        match (self.all, self.inactive) {
            (true, _) => format!("No {what}.\n"),
            (_, true) => format!("No inactive {what}.\n"),
            _ => format!("No active {what}; `{all}` lists inactive ones too.\n"),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Keep a network's document, or replace it
    #[command(after_help = "\
Example: lend the VFs of ens1f0, made by vfnet when the network starts
  vfnet net define - <<'END'
  <network xmlns:vfnet='urn:vfnet:network:1'>
    <name>hw</name>
    <forward mode='hostdev' managed='yes'>
      <pf dev='ens1f0'/>
    </forward>
    <vfnet:pool>
      <vfnet:pf dev='ens1f0' vfs='7'/>
    </vfnet:pool>
  </network>
  END
  vfnet net start hw
  vfnet net autostart hw")]
    Define(Document),
    /// Start a network that is forgotten when it stops
    Create(Document),
    /// Start a network
    Start(Changed),
    /// Stop a network
    ///
    /// Refused while guests hold VFs of it.
    Destroy {
        #[command(flatten)]
        which: Changed,
        /// Even with VFs lent: their guests keep them and run on
        #[arg(long)]
        force: bool,
    },
    /// Forget a network's document
    Undefine(Changed),
    /// List networks; without options, the active ones
    Ls(Listing),
    /// Show a network and who has its VFs
    Show(Which),
    /// Print a network's document
    Dumpxml {
        #[command(flatten)]
        which: Which,
        /// As defined, not as it is now
        #[arg(long)]
        inactive: bool,
    },
    /// Start a network with the host
    Autostart {
        #[command(flatten)]
        which: Changed,
        /// No longer
        #[arg(long)]
        disable: bool,
    },
    /// Say, VF by VF, which would be lent now, and why not the others
    #[command(after_help = "\
Examples:
  vfnet net explain hw
  vfnet net explain hw --guest web1.xml")]
    Explain {
        #[command(flatten)]
        which: Which,
        /// For this guest's document; - for stdin
        #[arg(long, value_name = "FILE")]
        guest: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuestCommand {
    /// Keep a guest's document, or replace it
    #[command(after_help = "\
Example: a guest with a VF of network hw; its MAC stays, whichever VF it gets
  vfnet guest define - <<'END'
  <domain type='kvm'>
    <name>web1</name>
    <memory unit='GiB'>2</memory>
    <vcpu>2</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os>
    <devices>
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2'/>
        <source file='/var/lib/images/web1.qcow2'/>
        <target dev='vda' bus='virtio'/>
      </disk>
      <interface type='network'>
        <mac address='52:54:00:6b:3c:58'/>
        <source network='hw'/>
      </interface>
      <serial type='pty'/>
    </devices>
  </domain>
  END
  vfnet guest start web1 --console")]
    Define(Document),
    /// Start a guest that is forgotten when it ends
    Create {
        #[command(flatten)]
        document: Document,
        /// With its CPUs stopped
        #[arg(long)]
        paused: bool,
        /// Then go to its console
        #[arg(long)]
        console: bool,
    },
    /// Start a guest
    #[command(after_help = "\
Examples:
  vfnet guest start web1
  vfnet guest start web1 --console

Where no VF can be lent, the reason for each one is shown.")]
    Start {
        #[command(flatten)]
        which: Changed,
        /// With its CPUs stopped
        #[arg(long)]
        paused: bool,
        /// Then go to its console
        #[arg(long)]
        console: bool,
    },
    /// End a guest at once, as if its power were cut
    Destroy(Changed),
    /// Ask a guest to shut down
    #[command(after_help = "\
Example: ask, and cut the power of a guest that has not heard after a minute
  vfnet guest shutdown web1 --wait 60 || vfnet guest destroy web1")]
    Shutdown {
        #[command(flatten)]
        which: Changed,
        /// Wait until it has, for at most so many seconds
        #[arg(long, value_name = "SECS")]
        wait: Option<u64>,
    },
    /// Reboot a guest, as with its reset button: it is not asked first
    Reboot(Changed),
    /// Reset a guest, as with a reset button
    Reset(Changed),
    /// Stop a guest's CPUs
    Suspend(Changed),
    /// Let a guest's CPUs go on
    Resume(Changed),
    /// Forget a guest's document
    Undefine {
        #[command(flatten)]
        which: Changed,
        /// Delete its UEFI variables too
        #[arg(long)]
        nvram: bool,
        /// Leave its UEFI variables where they are
        #[arg(long, conflicts_with = "nvram")]
        keep_nvram: bool,
    },
    /// List guests; without options, the active ones
    Ls(Listing),
    /// Show a guest and its VFs
    Show(Which),
    /// Print a guest's document
    Dumpxml {
        #[command(flatten)]
        which: Which,
        /// As defined, not as it is now
        #[arg(long)]
        inactive: bool,
    },
    /// Start a guest with the host
    Autostart {
        #[command(flatten)]
        which: Changed,
        /// No longer
        #[arg(long)]
        disable: bool,
    },
    /// Go to a guest's console; ^] leaves
    ///
    /// Where stdin is not a terminal, its bytes are sent to the guest, and the end of them
    /// leaves the console.
    #[command(after_help = "\
Examples:
  vfnet guest console web1
  tail -f /dev/null | vfnet guest console web1 > web1.log")]
    Console {
        #[command(flatten)]
        which: Which,
        /// Take it from another client that has it open
        #[arg(long)]
        force: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_option_and_command_is_well_formed() {
        Options::command().debug_assert();
    }

    /// What stands between `<<'END'` and `END` in the help of `vfnet KIND define`.
    fn example(kind: &str) -> String {
        let mut command = Options::command();
        let define = command
            .find_subcommand_mut(kind)
            .and_then(|command| command.find_subcommand_mut("define"))
            .expect("there is such a command");
        let help = define.get_after_help().expect("it has examples").to_string();
        let (_, document) = help.split_once("<<'END'\n").expect("a document");
        document.split_once("\n  END").expect("its end").0.to_owned()
    }

    #[test]
    fn the_documents_in_the_help_can_be_used_as_they_are() {
        let network = vfnet_model::network::parse(&example("net")).expect("a network");
        assert_eq!(network.name.as_str(), "hw");
        let guest = vfnet_model::guest::parse(&example("guest")).expect("a guest");
        assert_eq!(guest.name.as_str(), "web1");
    }
}
