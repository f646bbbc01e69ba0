Node devices: events
====================

VFs come at their network's start.

  $ cat > hw.xml <<END
  > <network xmlns:vfnet='urn:vfnet:network:1'>
  >   <name>hw</name>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  >   <vfnet:pool>
  >     <vfnet:pf dev='ens1f0' vfs='2'/>
  >   </vfnet:pool>
  > </network>
  > END

  $ virsh nodedev-event --list
  lifecycle
  update
  $ virsh nodedev-event
  error: either --list or --event <type> is required
  [1]
  $ virsh nodedev-event --event nonsense
  error: unknown event type nonsense
  [1]
  $ virsh nodedev-event --event lifecycle --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-event --event lifecycle --timeout 1
  event loop timed out
  events received: 0
  [1]
  $ virsh nodedev-event --event update --timeout 1 --loop
  event loop timed out
  events received: 0
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-event --event lifecycle --timeout 1
  event loop timed out
  events received: 0
  [1]
  $ virsh -c "$NODEDEV_URI" nodedev-event --event lifecycle --timeout 1 --timestamp
  event loop timed out
  events received: 0
  [1]
  $ virsh nodedev-event --event lifecycle --timeout 1 --device pci_0000_01_00_0
  error: Could not find matching device 'pci_0000_01_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
