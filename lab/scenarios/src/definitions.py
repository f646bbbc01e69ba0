# Writes definitions until the power goes, over libvirt's own binding, or says which there are.
#
#   definitions.py URI write networks|guests SEED
#   definitions.py URI read
#
# Of each change a line `BEGIN number kind/name value` is printed before, and `DONE number` once it
# is acknowledged; `read` prints one object of values by kind/name. A value is what the definition
# says, and null where there is none.
import hashlib
import json
import random
import sys
import uuid
import xml.etree.ElementTree as ElementTree

import libvirt

NETWORKS = ["n0", "n1", "n2", "n3"]
GUESTS = ["d0", "d1", "d2", "d3"]
# Active, and so written to both files by an update.
ACTIVE = "hw"
BOTH = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG


def text(version):
    """Several pages of a file, no two versions alike."""
    return "\n".join(f"line {line} of version {version}" for line in range(300))


def digest(words):
    return hashlib.sha256((words or "").encode()).hexdigest()[:16]


def identity(name):
    """One that stays: a document without it is refused where there is one of its name."""
    return f"<name>{name}</name><uuid>{uuid.uuid5(uuid.NAMESPACE_OID, name)}</uuid>"


def network_xml(name, version):
    return (
        f"<network>{identity(name)}<title>version {version}</title>"
        f"<description>{text(version)}</description>"
        f"<forward mode='bridge'/><bridge name='br-{name}'/></network>"
    )


def guest_xml(name, version):
    return (
        f"<domain type='qemu'>{identity(name)}<title>version {version}</title>"
        f"<description>{text(version)}</description><memory unit='MiB'>64</memory>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    )


def value_of(entity, inactive):
    root = ElementTree.fromstring(entity.XMLDesc(inactive))
    return {
        "title": root.findtext("title"),
        "text": digest(root.findtext("description")),
        "groups": sorted(group.get("name") for group in root.findall("portgroup")),
        "autostart": bool(entity.autostart()),
    }


def read(connection):
    """All definitions, as they would be started next."""
    found = {}
    for network in connection.listAllNetworks():
        inactive = libvirt.VIR_NETWORK_XML_INACTIVE
        found[f"network/{network.name()}"] = value_of(network, inactive)
    for guest in connection.listAllDomains():
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        found[f"guest/{guest.name()}"] = value_of(guest, inactive)
    return found


def defined(version, autostart):
    return {
        "title": f"version {version}",
        "text": digest(text(version)),
        "groups": [],
        "autostart": autostart,
    }


class Writer:
    def __init__(self, connection, kind, seed):
        self.connection = connection
        self.kind = kind
        self.dice = random.Random(seed)
        self.seed = seed
        self.values = read(connection)
        self.number = 0

    def change(self, name, value, act):
        self.number += 1
        number = f"{self.kind}-{self.number}"
        key = f"{self.kind}/{name}"
        print(f"BEGIN {number} {key} {json.dumps(value)}", flush=True)
        act()
        print(f"DONE {number}", flush=True)
        self.values[key] = value

    def step(self):
        names = NETWORKS + [ACTIVE] * 2 if self.kind == "network" else GUESTS
        name = self.dice.choice(names)
        old = self.values.get(f"{self.kind}/{name}")
        version = f"{self.seed}.{self.number}"
        if name == ACTIVE:
            self.update(name, old, version)
            return
        if old is None or self.dice.random() < 0.5:
            value = defined(version, bool(old and old["autostart"]))
            if self.kind == "network":
                document, define = network_xml(name, version), self.connection.networkDefineXML
            else:
                document, define = guest_xml(name, version), self.connection.defineXML
            self.change(name, value, lambda: define(document))
            return
        if self.kind == "network":
            entity = self.connection.networkLookupByName(name)
        else:
            entity = self.connection.lookupByName(name)
        # Not autostart: what is started by itself is another object's business.
        self.change(name, None, entity.undefine)

    def update(self, name, old, version):
        network = self.connection.networkLookupByName(name)
        section = libvirt.VIR_NETWORK_SECTION_PORTGROUP
        groups = list(old["groups"])
        if len(groups) > 3:
            gone = self.dice.choice(groups)
            groups.remove(gone)
            command, document = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, gone
        else:
            groups.append(f"p{version}")
            command, document = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, f"p{version}"
        document = f"<portgroup name='{document}'/>"
        value = dict(old, groups=sorted(groups))
        self.change(name, value, lambda: network.update(command, section, -1, document, BOTH))


def main():
    connection = libvirt.open(sys.argv[1])
    if sys.argv[2] == "read":
        print(json.dumps(read(connection)))
        return
    writer = Writer(connection, {"networks": "network", "guests": "guest"}[sys.argv[3]], sys.argv[4])
    while True:
        writer.step()


main()
