//! A stand-in for the agent in a guest.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::Machine;

/// What comes before an answer to `guest-sync-delimited`, and may come before a command.
const SENTINEL: u8 = 0xff;

/// The guest's virtual CPUs that its system uses. The first cannot go.
static VCPUS_ONLINE: Mutex<[bool; 4]> = Mutex::new([true, true, true, false]);

/// Serves one conversation at a time, as QEMU's socket does.
pub(super) fn serve(channel: &UnixListener, machine: &Machine) {
    while let Ok((stream, _)) = channel.accept() {
        if let Err(error) = talk(&stream, machine) {
            super::say(&format!("qemu-stand-in: agent: {error}"));
        }
    }
}

#[expect(clippy::exit, reason = "the machine ends from within, on whatever thread that is")]
fn talk(mut stream: &UnixStream, machine: &Machine) -> io::Result<()> {
    for line in BufReader::new(stream).split(b'\n') {
        let line = line?;
        let begin = line.iter().rposition(|&byte| byte == SENTINEL).map_or(0, |at| at + 1);
        let request: Value = serde_json::from_slice(&line[begin..])?;
        let arguments = &request["arguments"];
        let answer = match request["execute"].as_str().unwrap_or_default() {
            "guest-sync-delimited" => {
                stream.write_all(&[SENTINEL])?;
                json!({"return": arguments["id"]})
            }
            "guest-ping" => json!({"return": {}}),
            "guest-network-get-interfaces" => json!({"return": [
                {"name": "lo", "ip-addresses": [
                    {"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}]},
                {"name": "eth0", "hardware-address": "52:54:00:00:00:01", "ip-addresses": [
                    {"ip-address-type": "ipv4", "ip-address": "192.0.2.7", "prefix": 24},
                    {"ip-address-type": "ipv6", "ip-address": "2001:db8::7", "prefix": 64}]},
            ]}),
            "guest-get-vcpus" => {
                let online = *VCPUS_ONLINE.lock().unwrap_or_else(PoisonError::into_inner);
                let told = (0..).zip(online).map(|(id, online): (usize, bool)| {
                    json!({"logical-id": id, "online": online, "can-offline": id > 0})
                });
                json!({"return": told.collect::<Vec<_>>()})
            }
            "guest-set-vcpus" => {
                let mut online = VCPUS_ONLINE.lock().unwrap_or_else(PoisonError::into_inner);
                let wanted = arguments["vcpus"].as_array().map(Vec::as_slice).unwrap_or_default();
                for vcpu in wanted {
                    let place = vcpu["logical-id"].as_u64().and_then(|id| usize::try_from(id).ok());
                    if let Some(is) = place.and_then(|place| online.get_mut(place)) {
                        *is = vcpu["online"] == true;
                    }
                }
                json!({"return": wanted.len()})
            }
            "guest-shutdown" if arguments["mode"] == "reboot" => {
                machine.event("RESET", &json!({"guest": true, "reason": "guest-reset"}))?;
                continue;
            }
            "guest-shutdown" if *machine.stays() => {
                *machine.status() = "shutdown";
                machine.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-shutdown"}))?;
                machine.event("STOP", &json!({}))?;
                continue;
            }
            "guest-shutdown" => {
                machine.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-shutdown"}))?;
                std::process::exit(0);
            }
            other => json!({"error": {
                "class": "CommandNotFound",
                "desc": format!("The command {other} has not been found"),
            }}),
        };
        stream.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}
