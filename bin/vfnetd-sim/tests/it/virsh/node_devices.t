Node devices
============

What there is
-------------

  $ virsh nodedev-list
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --tree
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap net
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap pci
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap pci,net | wc -l
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  1
  [1]
  $ virsh nodedev-list --cap system
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap scsi
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap vpd
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --cap nonsense
  error: Invalid capability type
  [1]
  $ virsh nodedev-list --tree --cap net
  error: Option --tree is incompatible with --cap, --inactive, --persistent and --transient
  [1]
  $ virsh nodedev-list --inactive
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --all | wc -l
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  1
  [1]
  $ virsh nodedev-list --persistent | head -n 3
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --transient
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-list --inactive --all
  error: Option --all is incompatible with --inactive
  [1]
  $ virsh nodedev-list --tree --inactive
  error: Option --tree is incompatible with --cap, --inactive, --persistent and --transient
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-list --cap net
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh -c "$NODEDEV_URI" nodedev-list --cap net
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]

One of them
-----------

  $ virsh nodedev-dumpxml computer | grep -v -e '<uuid>' -e '<serial>' -e '<version>' -e '<vendor>' -e '<product>' -e '<release_date>'
  error: Could not find matching device 'computer'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_00_0
  error: Could not find matching device 'pci_0000_01_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml --device pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --inactive
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//capability[@type="phys_function"]'
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//slot|//function' --wrap
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ device=$(virsh nodedev-list --cap net | grep '^net_ens1f0_')
  error: Failed to count node devices
  error: this function is not supported by the connection driver: NODE_NUM_OF_DEVICES
  [1]
  $ virsh nodedev-dumpxml $device
  error: command 'nodedev-dumpxml' requires <device> option
  [1]
  $ virsh nodedev-dumpxml pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml
  error: command 'nodedev-dumpxml' requires <device> option
  [1]
  $ virsh nodedev-info pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-info --device computer
  error: Could not find matching device 'computer'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-info pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-info
  error: command 'nodedev-info' requires <device> option
  [1]

Detached, attached again, reset
-------------------------------

  $ virsh nodedev-detach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//driver/name'
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//driver/name'
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach --device pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach --device pci_0000_01_10_2 --driver vfio
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_2 --xpath '//driver/name'
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_2
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2 --driver kvm
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2 --driver xen
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2 --driver nonsense
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach computer
  error: Could not find matching device 'computer'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach
  error: command 'nodedev-detach' requires <device> option
  [1]
  $ virsh nodedev-reattach pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach
  error: command 'nodedev-reattach' requires <device> option
  [1]
  $ virsh nodedev-reset --device pci_0000_01_10_4
  error: Could not find matching device 'pci_0000_01_10_4'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset
  error: command 'nodedev-reset' requires <device> option
  [1]
  $ virsh nodedev-detach pci_0000_01_00_0
  error: Could not find matching device 'pci_0000_01_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset pci_0000_01_00_0
  error: Could not find matching device 'pci_0000_01_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-detach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-reattach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-reset pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]

What somebody holds stays as it is
----------------------------------

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ cat > port.xml <<END
  > <networkport>
  >   <uuid>55555555-5555-4555-8555-555555555501</uuid>
  >   <owner>
  >     <name>far</name>
  >     <uuid>33333333-3333-4333-8333-333333333333</uuid>
  >   </owner>
  >   <mac address='52:54:00:00:00:01'/>
  > </networkport>
  > END
  $ cat > web1.xml <<END
  > <domain type='qemu'>
  >   <name>web1</name>
  >   <memory unit='MiB'>64</memory>
  >   <vcpu>1</vcpu>
  >   <os><type machine='q35'>hvm</type></os>
  >   <devices>
  >     <interface type='network'>
  >       <mac address='52:54:00:00:00:02'/>
  >       <source network='hw'/>
  >     </interface>
  >   </devices>
  > </domain>
  > END
  $ virsh net-create hw.xml
  Network hw created from hw.xml
  $ virsh net-port-create hw port.xml
  Network port 55555555-5555-4555-8555-555555555501 created from port.xml
  $ virsh create web1.xml
  Domain 'web1' created from web1.xml
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555501 --xpath '//plug/address'
  <address domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
  $ virsh dumpxml web1 --xpath '//source/address'
  <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x2"/>
  $ virsh nodedev-detach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_0 --driver vfio
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_2
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-reset pci_0000_01_10_2
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]

A VF that the administrator has detached is not lent.

  $ virsh nodedev-detach pci_0000_01_10_4
  error: Could not find matching device 'pci_0000_01_10_4'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ sed 's/01/03/' port.xml > third.xml; virsh net-port-create hw third.xml
  Network port 55555555-5555-4555-8555-555555555503 created from third.xml
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555503 --xpath '//plug/address'
  <address domain="0x0000" bus="0x01" slot="0x10" function="0x4"/>
  $ virsh nodedev-reattach pci_0000_01_10_4
  error: Could not find matching device 'pci_0000_01_10_4'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ virsh nodedev-reset pci_0000_01_10_2
  error: Could not find matching device 'pci_0000_01_10_2'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]

Devices by definition
---------------------

Mediated devices are not vfnet's.

  $ cat > mdev.xml <<END
  > <device>
  >   <name>mine</name>
  >   <parent>pci_0000_01_00_0</parent>
  >   <capability type='mdev'>
  >     <type id='x'/>
  >   </capability>
  > </device>
  > END
  $ virsh nodedev-create mdev.xml
  error: Failed to create node device from mdev.xml
  error: this function is not supported by the connection driver: procedure 123
  [1]
  $ virsh nodedev-create --file mdev.xml --validate
  error: Failed to create node device from mdev.xml
  error: this function is not supported by the connection driver: procedure 123
  [1]
  $ virsh nodedev-define mdev.xml
  error: Failed to define node device from 'mdev.xml'
  error: this function is not supported by the connection driver: procedure 428
  [1]
  $ virsh nodedev-define --file mdev.xml --validate
  error: Failed to define node device from 'mdev.xml'
  error: this function is not supported by the connection driver: procedure 428
  [1]
  $ virsh nodedev-define nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh nodedev-create
  error: command 'nodedev-create' requires <file> option
  [1]
  $ virsh nodedev-destroy pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-destroy --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-undefine pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-undefine --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-start pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-start --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-autostart pci_0000_01_10_0
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-autostart --device pci_0000_01_10_0 --disable
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-update --device pci_0000_01_10_0 --file mdev.xml --live
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml --config
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml --current
  error: Could not find matching device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_LOOKUP_BY_NAME
  [1]
