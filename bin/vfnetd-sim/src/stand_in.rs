//! A stand-in for QEMU: a process that is started, supervised and ended like one, with no guest
//! in it.
//!
//! It reads of QEMU's command line what is needed for that (`-name`, `-uuid`, `-S`,
//! `-no-shutdown`, `-chardev socket,fd=`, `-mon`, `--version`), talks QMP on the monitor, and
//! answers on other listening chardevs with a line and then what it was told, and on an agent's
//! channel as an agent ([`agent`]). `x-open` on its monitor has it try to open a path as somebody
//! would who has taken it over ([`taken_over`]). What it shall do besides is said by words in the
//! kernel command line (`-append`) or the guest's name:
//!
//! | word | effect |
//! |---|---|
//! | `fail-at-start` | prints why and exits with 1 before its monitor answers |
//! | `never-answers` | keeps its monitor open and says nothing |
//! | `keeps-its-devices` | the guest does not answer when it is to let go of a device |
//! | `says-so-when-pressed` | the guest says no to that when its power button is pressed |
//! | `refuses-to-unplug` | the guest says no when it is to let go of a device |
//! | `ignore-powerdown` | the power button does nothing |
//! | `crash-when-resumed` | aborts (SIGABRT) at `cont` |
//! | `panic-when-resumed` | the guest's system panics at `cont` |
//! | `poweroff-when-resumed` | the guest powers itself off at `cont` |
//! | `with-agent` | an agent runs in the guest |
//! | `fails-its-disk` | its first disk cannot be read at `cont`, and the guest stands still |
//! | `leave-a-child=FIFO` | starts a process that has all that it has, until the FIFO is written to |
//! | `name-a-disk` | says that the pty of the first serial port is `/dev/sda` |
//! | `prints-when-resumed` | prints without end from `cont` on |
//! | `floods-when-resumed` | the monitor tells changes and long events without end from `cont` on, and hears nothing |
//! | `garbage-when-resumed` | the monitor talks nonsense at `cont`, and hangs up |

// Said, since tests of other crates take this file in from elsewhere.
#[path = "stand_in/agent.rs"]
mod agent;
#[path = "stand_in/devices.rs"]
mod devices;
#[path = "stand_in/taken_over.rs"]
mod taken_over;

pub(crate) use devices::HostDevices;

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};
use vfnet_host::process::{Purpose, command};

/// The version that the stand-in says it is.
const VERSION: &str = "10.0.2";

/// Acts as QEMU on this host; `args` are those after the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = String>, host: Box<dyn HostDevices>) -> ExitCode {
    let (machine, others) = match Machine::from_args(args, devices::Devices::on(host)) {
        Ok(Some(machine)) => machine,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("qemu-stand-in: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match Arc::new(machine).run(others) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("qemu-stand-in: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// QEMU's words go to standard error, and there into the guest's log.
fn say(words: &str) {
    // There is nobody to tell that nobody can be told.
    let _lost = writeln!(io::stderr(), "{words}");
}

/// What the command line says.
struct Machine {
    name: String,
    uuid: String,
    behaviour: String,
    /// Whether it stays when the guest has powered itself off.
    stays: Mutex<bool>,
    status: Mutex<&'static str>,
    monitor: UnixListener,
    /// Who is to hear events.
    client: Mutex<Option<UnixStream>>,
    /// The id of the agent's chardev.
    agent: Option<String>,
    disk: Option<String>,
    devices: devices::Devices,
    loot: taken_over::Loot,
    /// Bytes that the guest has, and may have.
    memory: (Mutex<u64>, u64),
}

/// What it serves besides the monitor.
#[derive(Default)]
struct Others {
    consoles: Vec<UnixListener>,
    agent: Option<UnixListener>,
}

impl Machine {
    fn from_args(
        args: impl IntoIterator<Item = String>,
        devices: devices::Devices,
    ) -> io::Result<Option<(Self, Others)>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let mut args = args.into_iter().peekable();
        let (mut name, mut append) = (String::new(), String::new());
        let mut uuid = "00000000-0000-0000-0000-000000000000".to_owned();
        let (mut paused, mut stays) = (false, false);
        let (mut agent, mut disk, mut memory) = (None, None, 0);
        let (mut chardevs, mut monitor) = (HashMap::new(), None);
        while let Some(arg) = args.next() {
            // QEMU takes options with one dash or two.
            let option = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or("");
            match option {
                "version" => {
                    writeln!(io::stdout(), "QEMU emulator version {VERSION} (stand-in)")?;
                    return Ok(None);
                }
                "S" => paused = true,
                "no-shutdown" => stays = true,
                "machine" if args.peek().is_some_and(|value| value == "help") => {
                    let machines = [("pc", "pc-i440fx-10.0"), ("q35", "pc-q35-10.0")];
                    for (alias, machine) in machines {
                        writeln!(io::stdout(), "{alias:20} Standard PC (alias of {machine})")?;
                    }
                    return Ok(None);
                }
                "name" | "append" | "uuid" | "chardev" | "mon" | "device" | "action" | "m" => {
                    let value = args.next().ok_or_else(|| bad(format!("{arg}: no value")))?;
                    match option {
                        "name" => name = first_or(&value, "guest"),
                        "append" => append = value,
                        "uuid" => uuid = value,
                        "chardev" if value.starts_with("socket,") => {
                            if let Some(fd) = key(&value, "fd") {
                                let fd = fd.parse().map_err(|_| bad(format!("fd '{fd}'")))?;
                                chardevs.insert(first_or(&value, "id"), listener(fd)?);
                            }
                        }
                        "action" => stays = key(&value, "shutdown").as_deref() == Some("pause"),
                        "m" => memory = mebibytes(&value).unwrap_or(0) << 20,
                        "device" => {
                            let device: Value = serde_json::from_str(&value).unwrap_or_default();
                            let word = |key: &str| device[key].as_str().map(str::to_owned);
                            devices.add(&device).map_err(bad)?;
                            if device["name"] == "org.qemu.guest_agent.0" {
                                agent = word("chardev");
                            }
                            if device.get("drive").is_some() && disk.is_none() {
                                disk = word("id");
                            }
                        }
                        "mon" => monitor = Some(first_or(&value, "chardev")),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let behaviour = format!("{name} {append}");
        if let Some(path) =
            behaviour.split(' ').find_map(|word| word.strip_prefix("leave-a-child="))
        {
            let mut child = command("/bin/sh", Purpose::Guest);
            child.args(["-c", "read line < \"$0\"", path]).spawn()?;
        }
        if behaviour.contains("fail-at-start") {
            return Err(bad("Could not open 'disk.img': told to fail at start".to_owned()));
        }
        let monitor = monitor
            .and_then(|id| chardevs.remove(&id))
            .ok_or_else(|| bad("no -mon on a -chardev socket,fd=".to_owned()))?;
        let others = Others {
            agent: agent.as_ref().and_then(|id| chardevs.remove(id)),
            consoles: chardevs.into_values().collect(),
        };
        let machine = Self {
            name,
            uuid,
            behaviour,
            stays: Mutex::new(stays),
            status: Mutex::new(if paused { "prelaunch" } else { "running" }),
            monitor,
            client: Mutex::default(),
            agent,
            disk,
            devices,
            loot: taken_over::Loot::default(),
            memory: (Mutex::new(memory), memory),
        };
        Ok(Some((machine, others)))
    }

    fn told_to(&self, word: &str) -> bool {
        self.behaviour.contains(word)
    }

    /// Serves one client of the monitor at a time, as QEMU does, until the machine ends.
    fn run(self: Arc<Self>, others: Others) -> io::Result<u8> {
        for console in others.consoles {
            std::thread::spawn(move || echo(&console));
        }
        if let Some(channel) = others.agent.filter(|_| self.told_to("with-agent")) {
            let machine = Arc::clone(&self);
            std::thread::spawn(move || agent::serve(&channel, &machine));
        }
        loop {
            let (stream, _) = self.monitor.accept()?;
            if self.told_to("never-answers") {
                // Until the client has given up.
                (&stream).read_to_end(&mut Vec::new())?;
                continue;
            }
            *self.client() = stream.try_clone().ok();
            let mut client = Client { machine: &self, stream: &stream };
            // Otherwise the client has gone, and the next one is waited for.
            if let Ok(Some(code)) = client.talk() {
                return Ok(code);
            }
        }
    }

    fn client(&self) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stays(&self) -> std::sync::MutexGuard<'_, bool> {
        self.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self) -> std::sync::MutexGuard<'_, u64> {
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever is connected to the monitor.
    fn event(&self, name: &str, data: &Value) -> io::Result<()> {
        let timestamp = json!({"seconds": 0, "microseconds": 0});
        let event = json!({"event": name, "data": data, "timestamp": timestamp});
        match self.client().as_mut() {
            Some(client) => client.write_all(format!("{event}\r\n").as_bytes()),
            None => Ok(()),
        }
    }

    fn chardevs(&self) -> Value {
        let open = self.told_to("with-agent");
        let agent = self.agent.as_ref().map(|label| {
            json!({"label": label, "filename": "unix:agent,server=on", "frontend-open": open})
        });
        agent.into_iter().collect()
    }

    fn status(&self) -> std::sync::MutexGuard<'_, &'static str> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command answers, and what happens then; or the class of an error, and its words.
type Answer = Result<(Value, Then), (&'static str, String)>;

/// A connection to the monitor.
struct Client<'a> {
    machine: &'a Machine,
    stream: &'a UnixStream,
}

impl Client<'_> {
    /// Some: the machine ends with this exit code.
    fn talk(&mut self) -> io::Result<Option<u8>> {
        self.send(&json!({"QMP": {
            "version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": "stand-in"},
            "capabilities": ["oob"],
        }}))?;
        for line in BufReader::new(self.stream).lines() {
            let request: Value = serde_json::from_str(&line?)?;
            let id = request["id"].clone();
            let command = request["execute"].as_str().unwrap_or_default();
            match self.execute(command, &request["arguments"]) {
                Ok((value, then)) => {
                    self.send(&json!({"return": value, "id": id}))?;
                    if let Some(code) = self.act(&then)? {
                        return Ok(Some(code));
                    }
                }
                Err((class, desc)) => {
                    self.send(&json!({"id": id, "error": {"class": class, "desc": desc}}))?;
                }
            }
        }
        Ok(None)
    }

    fn execute(&self, command: &str, arguments: &Value) -> Answer {
        let machine = self.machine;
        let status = *machine.status();
        Ok(match command {
            "qmp_capabilities" => (json!({}), Then::Nothing),
            "query-name" => (json!({"name": machine.name}), Then::Nothing),
            "query-uuid" => (json!({"UUID": machine.uuid}), Then::Nothing),
            "query-status" => {
                (json!({"running": status == "running", "status": status}), Then::Nothing)
            }
            "query-chardev" if machine.told_to("name-a-disk") => {
                (json!([{"label": "charserial0", "filename": "pty:/dev/sda"}]), Then::Nothing)
            }
            "query-chardev" => (machine.chardevs(), Then::Nothing),
            "query-balloon" => (json!({"actual": *machine.has()}), Then::Nothing),
            "balloon" => {
                let value = arguments["value"].as_u64().unwrap_or(0).min(machine.memory.1);
                *machine.has() = value;
                (json!({}), Then::Say("BALLOON_CHANGE", json!({"actual": value})))
            }
            "human-monitor-command" => match arguments["command-line"].as_str() {
                Some("info status") => (json!(format!("VM status: {status}\r\n")), Then::Nothing),
                Some(line) => (json!(format!("unknown command: '{line}'\r\n")), Then::Nothing),
                None => return Err(("GenericError", "Parameter 'command-line' is missing".into())),
            },
            "set-action" => {
                *machine.stays() = arguments["shutdown"] == "pause";
                (json!({}), Then::Nothing)
            }
            "set_password" => (json!({}), Then::Nothing),
            "query-vnc" => (json!({"enabled": true, "service": "5900"}), Then::Nothing),
            "stop" => (json!({}), Then::Become("paused", "STOP")),
            "cont" if machine.told_to("crash-when-resumed") => (json!({}), Then::Crash),
            "cont" if machine.told_to("panic-when-resumed") => (json!({}), Then::Panic),
            "cont" if machine.told_to("poweroff-when-resumed") => (json!({}), Then::PowerOff),
            "cont" if machine.told_to("garbage-when-resumed") => (json!({}), Then::Garbage),
            "cont" if machine.told_to("prints-when-resumed") => (json!({}), Then::Print),
            "cont" if machine.told_to("floods-when-resumed") => (json!({}), Then::Flood),
            "cont" if machine.told_to("fails-its-disk") => (json!({}), Then::FailDisk),
            "cont" if status == "shutdown" => {
                let desc = "Resetting the Virtual Machine is required".to_owned();
                return Err(("GenericError", desc));
            }
            "cont" => (json!({}), Then::Become("running", "RESUME")),
            "system_reset" => {
                let status = if status == "shutdown" { "prelaunch" } else { status };
                (json!({}), Then::Become(status, "RESET"))
            }
            "system_powerdown" if machine.told_to("says-so-when-pressed") => {
                (json!({}), Then::Say("DEVICE_UNPLUG_GUEST_ERROR", devices::asked(machine)))
            }
            "system_powerdown" if machine.told_to("ignore-powerdown") => (json!({}), Then::Nothing),
            "system_powerdown" => (json!({}), Then::PowerOff),
            "quit" => (json!({}), Then::Quit),
            "x-open" => return machine.loot.open(arguments),
            "device_del" => return devices::take(machine, arguments),
            other if devices::COMMANDS.contains(&other) => {
                return devices::execute(&machine.devices, other, arguments);
            }
            unknown => {
                let desc = format!("The command {unknown} has not been found");
                return Err(("CommandNotFound", desc));
            }
        })
    }

    fn act(&mut self, then: &Then) -> io::Result<Option<u8>> {
        match then {
            Then::Nothing => {}
            Then::Become(status, event) => {
                let before = std::mem::replace(&mut *self.machine.status(), status);
                self.event(event, &json!({}))?;
                if (before, *status) == ("prelaunch", "running") {
                    self.open_agent()?;
                }
            }
            Then::PowerOff => {
                self.event("POWERDOWN", &json!({}))?;
                self.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-shutdown"}))?;
                if !*self.machine.stays() {
                    return Ok(Some(0));
                }
                *self.machine.status() = "shutdown";
                self.event("STOP", &json!({}))?;
            }
            Then::Quit => {
                self.event("SHUTDOWN", &json!({"guest": false, "reason": "host-qmp-quit"}))?;
                return Ok(Some(0));
            }
            Then::Panic => {
                self.event("GUEST_PANICKED", &json!({"action": "poweroff"}))?;
                self.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-panic"}))?;
                return Ok(Some(0));
            }
            Then::Crash => {
                say("qemu-stand-in: assertion failed: told to crash");
                std::process::abort();
            }
            Then::Print => {
                *self.machine.status() = "running";
                self.event("RESUME", &json!({}))?;
                let words = "told to print ".repeat(5000);
                std::thread::spawn(move || {
                    loop {
                        say(&words);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            Then::Flood => {
                let long = json!("told to flood ".repeat(10_000));
                loop {
                    for device in ["a", "b"] {
                        self.event("DEVICE_DELETED", &json!({"device": device, "path": ""}))?;
                    }
                    for _ in 0..1000 {
                        for event in ["RESUME", "STOP", "RESET"] {
                            self.event(event, &json!({}))?;
                        }
                    }
                    self.event("FLOOD", &long)?;
                }
            }
            Then::Say(event, data) => self.event(event, data)?,
            Then::FailDisk => {
                *self.machine.status() = "running";
                self.event("RESUME", &json!({}))?;
                let disk = self.machine.disk.as_deref().unwrap_or_default();
                let data = json!({
                    "device": "", "node-name": "", "qom-path": format!("/machine/peripheral/{disk}"),
                    "operation": "read", "action": "stop", "nospace": true, "reason": "No space",
                });
                self.event("BLOCK_IO_ERROR", &data)?;
                *self.machine.status() = "io-error";
                self.event("STOP", &json!({}))?;
            }
            Then::Garbage => {
                *self.machine.status() = "running";
                self.stream.write_all(b"\xff\xfe{{{\n[1,2]\n{\"return\"")?;
                self.stream.shutdown(std::net::Shutdown::Both)?;
            }
        }
        Ok(None)
    }

    /// The agent starts with the guest's system.
    fn open_agent(&self) -> io::Result<()> {
        let channel = self.machine.agent.as_deref().and_then(|agent| agent.strip_prefix("char"));
        match channel.filter(|_| self.machine.told_to("with-agent")) {
            Some(id) => self.event("VSERPORT_CHANGE", &json!({"id": id, "open": true})),
            None => Ok(()),
        }
    }

    fn event(&self, name: &str, data: &Value) -> io::Result<()> {
        self.machine.event(name, data)
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        self.stream.write_all(format!("{message}\r\n").as_bytes())
    }
}

/// What follows a command's answer.
enum Then {
    Nothing,
    Become(&'static str, &'static str),
    Say(&'static str, Value),
    FailDisk,
    PowerOff,
    Quit,
    Panic,
    Crash,
    Garbage,
    Print,
    Flood,
}

/// The number of `size=64M` or `64M`, as vfnet writes it.
fn mebibytes(options: &str) -> Option<u64> {
    let size = first_or(options, "size");
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    Some(if size.ends_with(['k', 'K']) { number >> 10 } else { number })
}

/// A guest's console: greets, and gives back what it is told.
fn echo(listener: &UnixListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        let copied = stream
            .write_all(b"qemu-stand-in console\r\n")
            .and_then(|()| io::copy(&mut stream.try_clone()?, &mut stream));
        if let Err(error) = copied {
            say(&format!("qemu-stand-in: console: {error}"));
        }
    }
}

/// An inherited listening socket, by number.
fn listener(fd: i32) -> io::Result<UnixListener> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket: OwnedFd = pidfd_getfd(&this, fd, PidfdGetfdFlags::empty())?;
    Ok(socket.into())
}

/// The value of a key in `a=1,b=2`; a doubled comma stands for one.
fn key(options: &str, key: &str) -> Option<String> {
    const COMMA: &str = "\u{1}";
    options
        .replace(",,", COMMA)
        .split(',')
        .find_map(|option| Some(option.strip_prefix(key)?.strip_prefix('=')?.replace(COMMA, ",")))
}

/// The same, with the first option being the key's value when it has no name.
fn first_or(options: &str, name: &str) -> String {
    key(options, name).unwrap_or_else(|| {
        options.replace(",,", "\u{1}").split(',').next().unwrap_or_default().replace('\u{1}', ",")
    })
}
