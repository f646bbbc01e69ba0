# Networks, ports, node devices and their events through libvirt's Python binding.

import sys
import libvirt

uri, hw, port_xml = sys.argv[1:4]
PORT = '22222222-2222-4222-8222-222222222201'
libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
# Brings the loop back now and then.
libvirt.virEventAddTimeout(20, lambda *_: None, None)
conn = libvirt.open(uri)


def refused(code, call, *args):
    try:
        call(*args)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, (error.get_error_code(), str(error))
        return
    raise AssertionError('%s was granted' % call)


def until(done, again=lambda: None):
    while not done():
        again()
        libvirt.virEventRunDefaultImpl()


networks, started, devices, updated = [], [], [], []
conn.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
    lambda c, net, event, detail, o: networks.append((net.name(), event)), None)
conn.nodeDeviceEventRegisterAny(None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
    lambda c, device, event, detail, o: devices.append((device.name(), event)), None)
conn.nodeDeviceEventRegisterAny(None, libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE,
    lambda c, device, o: updated.append(device.name()), None)

# A network's life. An event right behind the answer to the registration may be lost.
net = conn.networkDefineXML(hw)
until(lambda: ('hw', libvirt.VIR_NETWORK_EVENT_DEFINED) in networks,
      lambda: conn.networkDefineXML(hw))
one = conn.networkEventRegisterAny(net, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
    lambda c, net, event, detail, o: started.append(event), None)
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.destroy)
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.portCreateXML, port_xml, 0)
net.create()
until(lambda: ('hw', libvirt.VIR_NETWORK_EVENT_STARTED) in networks)
until(lambda: libvirt.VIR_NETWORK_EVENT_STARTED in started)
conn.networkEventDeregisterAny(one)
until(lambda: ('pci_0000_01_10_0', libvirt.VIR_NODE_DEVICE_EVENT_CREATED) in devices)
net.setAutostart(True)
assert net.autostart() and net.isActive() and net.isPersistent()
assert conn.networkLookupByUUIDString(net.UUIDString()).name() == 'hw'
assert conn.listNetworks() == ['hw'] and conn.numOfNetworks() == 1
assert conn.listDefinedNetworks() == [] and conn.numOfDefinedNetworks() == 0
autostarted = libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART
assert [n.name() for n in conn.listAllNetworks(autostarted)] == ['hw']
assert conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_TRANSIENT) == []
assert net.DHCPLeases() == []
refused(libvirt.VIR_ERR_INTERNAL_ERROR, net.bridgeName)
both = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
add, portgroup = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, libvirt.VIR_NETWORK_SECTION_PORTGROUP
net.update(add, portgroup, -1, "<portgroup name='gold'/>", both)
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.update, add, portgroup, -1,
        "<portgroup name='gold'/>", both)
assert "<portgroup name='gold'>" in net.XMLDesc()
assert "<portgroup name='gold'>" in net.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)

# A port.
port = net.portCreateXML(port_xml, 0)
assert port.UUIDString() == PORT and port.network().name() == 'hw'
refused(libvirt.VIR_ERR_NETWORK_PORT_EXIST, net.portCreateXML, port_xml, 0)
assert [p.UUIDString() for p in net.listAllPorts()] == [PORT]
assert "<address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>" in port.XMLDesc()
assert net.portLookupByUUIDString(PORT).XMLDesc() == port.XMLDesc()
assert port.parameters() == {}
try:
    # The binding takes the parameters' types from those that are there.
    port.setParameters({'inbound.average': 1000})
    raise AssertionError('a bandwidth was granted')
except LookupError:
    pass
refused(libvirt.VIR_ERR_OPERATION_INVALID, net.destroy)

# Node devices: held by the port, and free.
assert 'computer' in [d.name() for d in conn.listAllDevices()]
cards = [d.name() for d in conn.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)]
assert len(cards) >= 1 and all(name.startswith('net_') for name in cards), cards
assert 'pci_0000_01_00_0' in conn.listDevices('pci') and conn.numOfDevices('pci') >= 8
refused(libvirt.VIR_ERR_NO_NODE_DEVICE, conn.nodeDeviceLookupByName, 'pci_0000_99_00_0')
held = conn.nodeDeviceLookupByName('pci_0000_01_10_0')
for call in (held.dettach, held.reAttach, held.reset):
    refused(libvirt.VIR_ERR_OPERATION_INVALID, call)
free = conn.nodeDeviceLookupByName('pci_0000_01_10_2')
assert 'pci' in free.listCaps() and free.numOfCaps() == len(free.listCaps())
assert free.parent() in conn.listDevices('pci')
assert "<capability type='phys_function'>" in free.XMLDesc()
free.detachFlags('vfio', 0)
assert '<name>vfio-pci</name>' in free.XMLDesc()
until(lambda: 'pci_0000_01_10_2' in updated)
free.reset()
free.reAttach()
assert '<name>igbvf</name>' in free.XMLDesc()

# The port is given back, and the network removed.
port.delete()
refused(libvirt.VIR_ERR_NO_NETWORK_PORT, net.portLookupByUUIDString, PORT)
net.destroy()
until(lambda: ('hw', libvirt.VIR_NETWORK_EVENT_STOPPED) in networks)
net.undefine()
until(lambda: ('hw', libvirt.VIR_NETWORK_EVENT_UNDEFINED) in networks)
refused(libvirt.VIR_ERR_NO_NETWORK, net.create)
assert libvirt.VIR_NETWORK_EVENT_STOPPED not in started
conn.close()
print('done')
