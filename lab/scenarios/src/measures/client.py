# What a client of libvirt's sees, through its Python binding: each value is a line of JSON.
#
#   client.py URI await                     says "ready", reads a line, and waits for an answer
#   client.py URI calls COUNT
#   client.py URI define COUNT              guests, from a document on standard input with %d in it
#   client.py URI devices COUNT
#   client.py URI ports NETWORK CLIENTS PAIRS PID

import json
import os
import sys
import time

import libvirt

UUID = 'aaaaaaaa-1234-4234-8234-%012d'
PORT = '''<networkport><uuid>%s</uuid>
<owner><name>far</name><uuid>bbbbbbbb-1234-4234-8234-%012d</uuid></owner>
<mac address='52:54:00:77:00:%02x'/></networkport>'''
# Of these, both daemons list the same on an SR-IOV host.
DEVICES = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV \
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
TICK = os.sysconf('SC_CLK_TCK')

libvirt.registerErrorHandler(lambda *_: None, None)
uri, task, words = sys.argv[1], sys.argv[2], sys.argv[3:]


def tell(what, unit, value):
    print(json.dumps({'what': what, 'unit': unit, 'value': value}), flush=True)


def took(call, *args):
    begun = time.monotonic()
    call(*args)
    return time.monotonic() - begun


def cpu_seconds(pid):
    with open('/proc/%s/stat' % pid) as stat:
        fields = stat.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def await_answer():
    print('ready', flush=True)
    sys.stdin.readline()
    while True:
        try:
            libvirt.open(uri).getLibVersion()
            print('answered', flush=True)
            return
        except libvirt.libvirtError:
            time.sleep(0.002)


def calls(conn, count):
    for _ in range(20):
        conn.getLibVersion()
    begun = time.monotonic()
    each = [took(conn.getLibVersion) for _ in range(count)]
    tell('null calls', '/s', count / (time.monotonic() - begun))
    for latency in each:
        tell('null call', 's', latency)


def devices(conn, count):
    for _ in range(count):
        begun = time.monotonic()
        listed = conn.listAllDevices(DEVICES)
        tell('list node devices', 's', time.monotonic() - begun)
        tell('all documents of node devices', 's', took(lambda: [d.XMLDesc() for d in listed]))
    tell('node devices', '', len(listed))


def pairs(client, count):
    network = libvirt.open(uri).networkLookupByName(words[0])
    document = PORT % (UUID % client, client, client)
    network.portCreateXML(document).delete()
    yield
    for _ in range(count):
        network.portCreateXML(document).delete()


def ports(clients, count, pid):
    ready_reader, ready = os.pipe()
    go, go_writer = os.pipe()
    for client in range(clients):
        if os.fork() == 0:
            work = pairs(client, count)
            next(work)
            os.write(ready, b'.')
            os.read(go, 1)
            for _ in work:
                pass
            os._exit(0)
    at_rest = 0
    while at_rest < clients:
        at_rest += len(os.read(ready_reader, clients))
    used, begun = cpu_seconds(pid), time.monotonic()
    os.write(go_writer, b'.' * clients)
    for _ in range(clients):
        assert os.wait()[1] == 0, 'a client has failed'
    seconds, used = time.monotonic() - begun, cpu_seconds(pid) - used
    by = 'one client' if clients == 1 else '%d clients' % clients
    tell('port pairs, ' + by, '/s', clients * count / seconds)
    tell('CPU of the daemon per port pair, ' + by, 's', used / (clients * count))


if task == 'await':
    await_answer()
elif task == 'calls':
    calls(libvirt.open(uri), int(words[0]))
elif task == 'define':
    document, conn = sys.stdin.read(), libvirt.open(uri)
    for number in range(int(words[0])):
        conn.defineXML(document % number)
elif task == 'devices':
    devices(libvirt.open(uri), int(words[0]))
elif task == 'ports':
    ports(int(words[1]), int(words[2]), words[3])
