//! A stand-in for QEMU: a process that is started, supervised and ended like one, with no guest
//! in it.
//!
//! It reads of QEMU's command line what is needed for that (`-name`, `-uuid`, `-S`,
//! `-no-shutdown`, `-chardev socket,fd=`, `-mon`, `--version`), talks QMP on the monitor, and
//! answers on other listening chardevs with a line and then what it was told. What it shall do
//! besides is said by words in the kernel command line (`-append`) or the guest's name:
//!
//! | word | effect |
//! |---|---|
//! | `fail-at-start` | prints why and exits with 1 before its monitor answers |
//! | `never-answers` | keeps its monitor open and says nothing |
//! | `ignore-powerdown` | the power button does nothing |
//! | `crash-when-resumed` | aborts (SIGABRT) at `cont` |
//! | `panic-when-resumed` | the guest's system panics at `cont` |
//! | `poweroff-when-resumed` | the guest powers itself off at `cont` |
//! | `leave-a-child=FIFO` | starts a process that has all that it has, until the FIFO is written to |
//! | `name-a-disk` | says that the pty of the first serial port is `/dev/sda` |
//! | `prints-when-resumed` | prints without end from `cont` on |
//! | `floods-when-resumed` | the monitor tells changes and long events without end from `cont` on, and hears nothing |
//! | `garbage-when-resumed` | the monitor talks nonsense at `cont`, and hangs up |

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};
use vfnet_host::process::{Purpose, command};

/// The version that the stand-in says it is.
const VERSION: &str = "10.0.2";

/// Acts as QEMU; `args` are those after the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let machine = match Machine::from_args(args) {
        Ok(Some(machine)) => machine,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("qemu-stand-in: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match machine.run() {
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
    no_shutdown: bool,
    status: Mutex<&'static str>,
    monitor: UnixListener,
    consoles: Vec<UnixListener>,
}

impl Machine {
    fn from_args(args: impl IntoIterator<Item = String>) -> io::Result<Option<Self>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let mut args = args.into_iter();
        let (mut name, mut append) = (String::new(), String::new());
        let mut uuid = "00000000-0000-0000-0000-000000000000".to_owned();
        let (mut paused, mut no_shutdown) = (false, false);
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
                "no-shutdown" => no_shutdown = true,
                "name" | "append" | "uuid" | "chardev" | "mon" => {
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
        Ok(Some(Self {
            name,
            uuid,
            behaviour,
            no_shutdown,
            status: Mutex::new(if paused { "prelaunch" } else { "running" }),
            monitor,
            consoles: chardevs.into_values().collect(),
        }))
    }

    fn told_to(&self, word: &str) -> bool {
        self.behaviour.contains(word)
    }

    /// Serves one client of the monitor at a time, as QEMU does, until the machine ends.
    fn run(mut self) -> io::Result<u8> {
        for console in self.consoles.drain(..) {
            std::thread::spawn(move || echo(&console));
        }
        loop {
            let (stream, _) = self.monitor.accept()?;
            if self.told_to("never-answers") {
                // Until the client has given up.
                (&stream).read_to_end(&mut Vec::new())?;
                continue;
            }
            let mut client = Client { machine: &self, stream: &stream };
            // Otherwise the client has gone, and the next one is waited for.
            if let Ok(Some(code)) = client.talk() {
                return Ok(code);
            }
        }
    }

    fn status(&self) -> std::sync::MutexGuard<'_, &'static str> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
            match self.execute(request["execute"].as_str().unwrap_or_default()) {
                Ok((value, then)) => {
                    self.send(&json!({"return": value, "id": id}))?;
                    if let Some(code) = self.act(&then)? {
                        return Ok(Some(code));
                    }
                }
                Err(command) => self.send(&json!({
                    "id": id,
                    "error": {
                        "class": "CommandNotFound",
                        "desc": format!("The command {command} has not been found"),
                    },
                }))?,
            }
        }
        Ok(None)
    }

    fn execute(&self, command: &str) -> Result<(Value, Then), String> {
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
            "query-chardev" => (json!([]), Then::Nothing),
            "set_password" => (json!({}), Then::Nothing),
            "query-vnc" => (json!({"enabled": true, "service": "5900"}), Then::Nothing),
            "stop" => (json!({}), Then::Become("paused", "STOP")),
            "cont" if machine.told_to("crash-when-resumed") => (json!({}), Then::Crash),
            "cont" if machine.told_to("panic-when-resumed") => (json!({}), Then::Panic),
            "cont" if machine.told_to("poweroff-when-resumed") => (json!({}), Then::PowerOff),
            "cont" if machine.told_to("garbage-when-resumed") => (json!({}), Then::Garbage),
            "cont" if machine.told_to("prints-when-resumed") => (json!({}), Then::Print),
            "cont" if machine.told_to("floods-when-resumed") => (json!({}), Then::Flood),
            "cont" => (json!({}), Then::Become("running", "RESUME")),
            "system_reset" => (json!({}), Then::Become(status, "RESET")),
            "system_powerdown" if machine.told_to("ignore-powerdown") => (json!({}), Then::Nothing),
            "system_powerdown" => (json!({}), Then::PowerOff),
            "quit" => (json!({}), Then::Quit),
            unknown => return Err(unknown.to_owned()),
        })
    }

    fn act(&mut self, then: &Then) -> io::Result<Option<u8>> {
        match then {
            Then::Nothing => {}
            Then::Become(status, event) => {
                *self.machine.status() = status;
                self.event(event, &json!({}))?;
            }
            Then::PowerOff => {
                self.event("POWERDOWN", &json!({}))?;
                self.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-shutdown"}))?;
                if !self.machine.no_shutdown {
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
                    for _ in 0..1000 {
                        for event in ["RESUME", "STOP", "RESET"] {
                            self.event(event, &json!({}))?;
                        }
                    }
                    self.event("FLOOD", &long)?;
                }
            }
            Then::Garbage => {
                *self.machine.status() = "running";
                self.stream.write_all(b"\xff\xfe{{{\n[1,2]\n{\"return\"")?;
                self.stream.shutdown(std::net::Shutdown::Both)?;
            }
        }
        Ok(None)
    }

    fn event(&mut self, name: &str, data: &Value) -> io::Result<()> {
        self.send(&json!({
            "event": name,
            "data": data,
            "timestamp": {"seconds": 0, "microseconds": 0},
        }))
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        self.stream.write_all(format!("{message}\r\n").as_bytes())
    }
}

/// What follows a command's answer.
enum Then {
    Nothing,
    Become(&'static str, &'static str),
    PowerOff,
    Quit,
    Panic,
    Crash,
    Garbage,
    Print,
    Flood,
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
