Node devices: events
====================

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
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-event --event lifecycle --timeout nonsense
  error: Numeric value 'nonsense' for <timeout> option is malformed or out of range
  [1]
  $ virsh nodedev-event --event lifecycle --timeout 1
  event loop timed out
  events received: 0
  [1]

A netdev goes when its VF is detached, and comes when it is attached again
--------------------------------------------------------------------------

  $ toggle() { virsh nodedev-detach pci_0000_01_10_0; virsh nodedev-reattach pci_0000_01_10_0; }
  $ listen toggle virsh nodedev-event --event lifecycle
  $ quiet 's/Created\|Deleted/Created or Deleted/'
  event 'lifecycle' for node device net_ens1f0v0_MAC: Created or Deleted
  $ listen toggle virsh nodedev-event --event lifecycle --timestamp
  $ quiet 's/Created\|Deleted/Created or Deleted/'
  WHEN: event 'lifecycle' for node device net_ens1f0v0_MAC: Created or Deleted
  $ listen toggle virsh -c "$READ_ONLY_URI" nodedev-event --event lifecycle
  $ quiet 's/Created\|Deleted/Created or Deleted/'
  event 'lifecycle' for node device net_ens1f0v0_MAC: Created or Deleted
  $ listen toggle virsh -c "$NODEDEV_URI" nodedev-event --event update --device pci_0000_01_10_0
  $ quiet
  event 'update' for node device pci_0000_01_10_0

  $ listen toggle virsh nodedev-event --event lifecycle --loop
  $ virsh nodedev-detach pci_0000_01_10_2
  Device pci_0000_01_10_2 detached
  $ virsh nodedev-reattach pci_0000_01_10_2
  Device pci_0000_01_10_2 re-attached
  $ heard 'net_ens1f0v1.*Created' /net_ens1f0v0/d
  event 'lifecycle' for node device net_ens1f0v1_MAC: Deleted
  event 'lifecycle' for node device net_ens1f0v1_MAC: Created
  event loop interrupted

VFs come at the start of their network
--------------------------------------

  $ cat > hw.xml <<END
  > <network xmlns:vfnet='urn:vfnet:network:1'>
  >   <name>hw</name>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens2f0'/>
  >   </forward>
  >   <vfnet:pool>
  >     <vfnet:pf dev='ens2f0' vfs='2' autoprobe='yes'/>
  >   </vfnet:pool>
  > </network>
  > END
  $ listen toggle virsh nodedev-event --event lifecycle --loop
  $ virsh net-create hw.xml
  Network hw created from hw.xml
  $ heard 'net_ens2f0v1.*Created' /net_ens1f0v0/d
  event 'lifecycle' for node device pci_0000_02_10_0: Created
  event 'lifecycle' for node device pci_0000_02_10_2: Created
  event 'lifecycle' for node device net_ens2f0v0_MAC: Created
  event 'lifecycle' for node device net_ens2f0v1_MAC: Created
  event loop interrupted
  $ virsh nodedev-dumpxml pci_0000_02_00_0 --xpath '//capability[@type="virt_functions"]'
  <capability type="virt_functions" maxCount="7">
    <address domain="0x0000" bus="0x02" slot="0x10" function="0x0"/>
    <address domain="0x0000" bus="0x02" slot="0x10" function="0x2"/>
  </capability>
