//! What the same jobs take on the same host: by bare system calls and a bare QEMU, which nobody
//! can beat (the floor); by vfnet; and by stock libvirt. In turn, several times over.
//!
//! Each value is a line `MEASURED {"of", "what", "unit", "value"}`, for `cargo xtask bench`.

mod floor;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::daemon::{self, Daemon};
use crate::documents::{Guest, network_of_pf};
use crate::host::{Host, Pf};
use crate::program;
use crate::stock::{self, Serves, StockLibvirt};
use crate::wait::wait_for;

const CLIENT: &str = include_str!("measures/client.py");
const CLIENT_PATH: &str = "/run/measures-client.py";
const NETWORK: &str = "hw";
const VFS: u8 = 7;
/// Memory is pinned for a VF, which takes its time: the same for all.
const MEMORY_MIB: u32 = 256;
const SETTLING: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(300);
/// Where stock libvirt keeps what outlives a power cut: on the disk that vfnet's is on.
const STOCK_STATE: [(&str, &str); 2] =
    [("/etc/libvirt", "/disk/stock/etc"), ("/var/lib/libvirt", "/disk/stock/lib")];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    turns: usize,
    starts: usize,
    calls: usize,
    pairs: usize,
    lists: usize,
    definitions: usize,
    idle: Duration,
}

const WHOLE: Extent = Extent {
    turns: 2,
    starts: 9,
    calls: 1000,
    pairs: 200,
    lists: 10,
    definitions: 1000,
    idle: Duration::from_secs(60),
};

const QUICK: Extent = Extent {
    turns: 1,
    starts: 3,
    calls: 200,
    pairs: 50,
    lists: 3,
    definitions: 100,
    idle: Duration::from_secs(20),
};

/// Measures all of it, and tells.
///
/// # Errors
///
/// When anything fails: a value that is missing is no value.
pub fn run(host: &Host, quick: bool) -> Result<()> {
    let extent = if quick { QUICK } else { WHOLE };
    fs::write(CLIENT_PATH, CLIENT)?;
    for (mounted, kept) in STOCK_STATE {
        for folder in [mounted, kept] {
            fs::create_dir_all(folder)?;
        }
        program::run("mount", &["--bind", kept, mounted])?;
    }
    let sides = if stock::prepare(Serves::Guests)? {
        &[Side::Vfnet, Side::Stock][..]
    } else {
        println!("stock libvirt is not there, and is not compared with");
        &[Side::Vfnet]
    };
    for turn in 1..=extent.turns {
        println!("turn {turn} of {}: the floor", extent.turns);
        host.clear()?;
        floor::measure(&cards(host)?, extent.starts)?;
        for &side in sides {
            println!("turn {turn} of {}: {}", extent.turns, side.name());
            host.clear()?;
            if side == Side::Stock {
                forget_what_stock_has()?;
            }
            let pf = cards(host)?;
            Bench::start(side, "cold")?.measure(&pf, extent)?;
        }
    }
    host.clear()
}

/// As after its installation: what it was told in an earlier turn is on the disk.
fn forget_what_stock_has() -> Result<()> {
    for (_, kept) in STOCK_STATE {
        for entry in Path::new(kept).read_dir()? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    if Path::new("/run/libvirt").exists() {
        fs::remove_dir_all("/run/libvirt")?;
    }
    stock::prepare(Serves::Guests)?;
    Ok(())
}

/// A PF with all its VFs.
fn cards(host: &Host) -> Result<Pf> {
    let pf = host.pf(0)?;
    pf.raise()?;
    pf.make_vfs(VFS)?;
    Ok(pf)
}

fn tell(of: &str, what: &str, unit: &str, value: f64) {
    println!("MEASURED {}", json!({"of": of, "what": what, "unit": unit, "value": value}));
}

fn mac(number: u8) -> String {
    format!("52:54:00:66:00:{number:02x}")
}

fn guest(number: u8) -> String {
    format!("g{number}")
}

/// Whose daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Vfnet,
    Stock,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Vfnet => "vfnet",
            Self::Stock => "stock libvirt",
        }
    }

    const fn uri(self) -> &'static str {
        match self {
            Self::Vfnet => daemon::URI,
            Self::Stock => Serves::Guests.uri(),
        }
    }

    /// Starts its daemon and waits for nothing.
    fn begin(self) -> Result<Process> {
        Ok(match self {
            Self::Vfnet => Process::Vfnet(Daemon::begin()?),
            Self::Stock => Process::Stock(StockLibvirt::begin(Serves::Guests)?),
        })
    }
}

#[derive(Debug)]
enum Process {
    Vfnet(Daemon),
    Stock(StockLibvirt),
}

impl Process {
    fn pid(&self) -> u32 {
        match self {
            Self::Vfnet(daemon) => daemon.pid(),
            Self::Stock(daemon) => daemon.pid(),
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Vfnet(daemon) => daemon.stop().map(drop),
            Self::Stock(daemon) => daemon.stop(),
        }
    }
}

/// A daemon that answers.
#[derive(Debug)]
struct Bench {
    side: Side,
    process: Process,
}

impl Bench {
    /// Starts the daemon and tells after which time it has answered a client.
    fn start(side: Side, how: &str) -> Result<Self> {
        let waiting = Waiting::for_answer(side)?;
        let begun = Instant::now();
        let process = side.begin()?;
        tell(side.name(), &format!("start to first answer, {how}"), "s", waiting.ended(begun)?);
        Ok(Self { side, process })
    }

    fn tell(&self, what: &str, unit: &str, value: f64) {
        tell(self.side.name(), what, unit, value);
    }

    fn virsh(&self, words: &[&str]) -> Result<String> {
        program::run("virsh", &[&["-q", "-c", self.side.uri()], words].concat())
    }

    /// How long virsh takes, its own start included.
    fn time(&self, words: &[&str]) -> Result<f64> {
        let begun = Instant::now();
        self.virsh(words)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Has the Python client do something, and tells what it tells.
    fn client(&self, words: &[&str]) -> Result<()> {
        let told = program::run("python3", &[&[CLIENT_PATH, self.side.uri()], words].concat())?;
        for line in told.lines() {
            let mut value: Value = serde_json::from_str(line)?;
            value["of"] = self.side.name().into();
            println!("MEASURED {value}");
        }
        Ok(())
    }

    fn measure(self, pf: &Pf, extent: Extent) -> Result<()> {
        fs::write("/run/measures-network.xml", network_of_pf(NETWORK, &pf.netdev))?;
        self.virsh(&["net-define", "/run/measures-network.xml"])?;
        self.virsh(&["net-start", NETWORK])?;
        self.client(&["calls", &extent.calls.to_string()])?;
        self.client(&["devices", &extent.lists.to_string()])?;
        self.ports(extent.pairs)?;
        self.define_guests()?;
        self.tell("virsh that asks for nothing", "s", self.time(&["uri"])?);
        for _round in 0..extent.starts {
            self.tell("start of a guest", "s", self.time(&["start", &guest(0)])?);
            self.tell("destroy of a guest", "s", self.time(&["destroy", &guest(0)])?);
        }
        self.seven_at_once()?;
        self.memory()?;
        self.idle(extent.idle)?;
        self.definitions(extent.definitions)?;
        let restarted = self.restart()?;
        for number in 0..VFS {
            restarted.virsh(&["destroy", &guest(number)])?;
        }
        for number in 0..VFS {
            restarted.virsh(&["undefine", &guest(number)])?;
        }
        restarted.process.stop()
    }

    fn ports(&self, pairs: usize) -> Result<()> {
        let pid = self.process.pid().to_string();
        for clients in [1, 8] {
            // No more at a time than there are VFs.
            let clients = clients.min(usize::from(VFS));
            let each = (pairs / clients).to_string();
            self.client(&["ports", NETWORK, &clients.to_string(), &each, &pid])?;
        }
        Ok(())
    }

    fn define_guests(&self) -> Result<()> {
        for number in 0..VFS {
            let name = guest(number);
            let console = format!("/run/measures-{name}.console");
            let document = Guest::idle(&name).memory(MEMORY_MIB).nic(&mac(number), NETWORK);
            let path = format!("/run/measures-{name}.xml");
            fs::write(&path, document.xml(Path::new(&console))?)?;
            self.virsh(&["define", &path])?;
        }
        Ok(())
    }

    /// Leaves them running.
    fn seven_at_once(&self) -> Result<()> {
        let begun = Instant::now();
        let mut clients = Vec::new();
        for number in 0..VFS {
            let words = ["-q", "-c", self.side.uri(), "start", &guest(number)];
            clients.push(Command::new("virsh").args(words).stdout(Stdio::null()).spawn()?);
        }
        for client in &mut clients {
            let status = program::wait_for_the_end("a start beside six others", client)?;
            ensure!(status.success(), "a start beside six others has failed ({status})");
        }
        self.tell("seven starts at once", "s", begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn memory(&self) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        for (line, what) in [("VmRSS:", "resident memory"), ("VmHWM:", "most resident memory")] {
            let kib = status.lines().find_map(|said| said.strip_prefix(line)).context(line)?;
            let kib: f64 = kib.trim().trim_end_matches(" kB").parse()?;
            self.tell(&format!("{what}, 7 guests"), "MiB", kib / 1024.0);
        }
        Ok(())
    }

    fn idle(&self, span: Duration) -> Result<()> {
        // What the guests' firmware still does to their cards is over by then.
        std::thread::sleep(SETTLING);
        let (before, begun) = (Account::of(self.process.pid())?, Instant::now());
        std::thread::sleep(span);
        let (after, minutes) =
            (Account::of(self.process.pid())?, begun.elapsed().as_secs_f64() / 60.0);
        let wake_ups = after.wake_ups.saturating_sub(before.wake_ups);
        self.tell("wake-ups, idle, 7 guests", "/min", wake_ups as f64 / minutes);
        let cpu = after.cpu.saturating_sub(before.cpu);
        self.tell("CPU, idle, 7 guests", "s/min", cpu.as_secs_f64() / minutes);
        Ok(())
    }

    /// Guests that are only defined.
    fn definitions(&self, count: usize) -> Result<()> {
        let document = Guest::idle("defined%d").memory(MEMORY_MIB).xml(Path::new("/dev/null"))?;
        let mut client = Command::new("python3")
            .args([CLIENT_PATH, self.side.uri(), "define", &count.to_string()])
            .stdin(Stdio::piped())
            .spawn()?;
        client.stdin.take().context("python3 takes no words")?.write_all(document.as_bytes())?;
        let status = program::wait_for_the_end("guests to be defined", &mut client)?;
        ensure!(status.success(), "guests are not defined ({status})");
        Ok(())
    }

    /// Ends the daemon and starts it again, with guests that run and guests that do not.
    fn restart(self) -> Result<Self> {
        let begun = Instant::now();
        self.process.stop()?;
        tell(self.side.name(), "end of the daemon, 7 guests", "s", begun.elapsed().as_secs_f64());
        let bench = Self::start(self.side, "definitions and 7 guests")?;
        tell(
            self.side.name(),
            "no answer amid a restart, definitions and 7 guests",
            "s",
            begun.elapsed().as_secs_f64(),
        );
        wait_for("all guests to be known", LIMIT, || {
            bench.virsh(&["list", "--name"]).is_ok_and(|names| {
                names.lines().filter(|name| !name.is_empty()).count() == usize::from(VFS)
            })
        })?;
        Ok(bench)
    }
}

/// A client that asks until it is answered.
struct Waiting {
    client: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Waiting {
    /// When this returns, it is ready to ask.
    fn for_answer(side: Side) -> Result<Self> {
        let mut client = Command::new("python3")
            .args([CLIENT_PATH, side.uri(), "await"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let says = BufReader::new(client.stdout.take().context("python3 says nothing")?);
        let mut waiting = Self { client, says };
        waiting.next("ready")?;
        Ok(waiting)
    }

    /// Seconds from `begun` to the answer.
    fn ended(mut self, begun: Instant) -> Result<f64> {
        self.client.stdin.take().context("python3 takes no words")?.write_all(b"\n")?;
        self.next("answered")?;
        let took = begun.elapsed().as_secs_f64();
        self.client.wait()?;
        Ok(took)
    }

    fn next(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        ensure!(line.trim() == word, "the client that waits says '{line}' instead of '{word}'");
        Ok(())
    }
}

/// What a process has used.
struct Account {
    cpu: Duration,
    /// Times that any of its threads has come to run after it waited.
    wake_ups: u64,
}

impl Account {
    fn of(pid: u32) -> Result<Self> {
        let mut account = Self { cpu: Duration::ZERO, wake_ups: 0 };
        for task in Path::new("/proc").join(pid.to_string()).join("task").read_dir()? {
            let task = task?.path();
            let ran = fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = ran.split_whitespace().next().context("an empty schedstat")?;
            account.cpu += Duration::from_nanos(nanoseconds.parse()?);
            let status = fs::read_to_string(task.join("status"))?;
            let waited = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
            account.wake_ups +=
                waited.context("a task that never waited")?.trim().parse::<u64>()?;
        }
        Ok(account)
    }
}
