Guests: devices that come and go
================================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  >   <portgroup name='gold'><vlan><tag id='7'/></vlan></portgroup>
  > </network>
  > END
  $ virsh net-define hw.xml && virsh net-start hw
  Network hw defined from hw.xml
  Network hw started
  $ cat > other.xml <<END
  > <network>
  >   <name>other</name>
  >   <uuid>11111111-1111-4111-8111-111111111112</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <address type='pci' domain='0' bus='1' slot='0x11' function='4'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-define other.xml && virsh net-start other
  Network other defined from other.xml
  Network other started
  $ guest() {
  >   cat > $1.xml <<END
  > <domain type='qemu'>
  >   <name>$1</name>
  >   <uuid>$2</uuid>
  >   <memory unit='KiB'>65536</memory>
  >   <vcpu>1</vcpu>
  >   <os><type machine='q35'>hvm</type></os>
  >   <devices>
  >     <interface type='network'><source network='hw'/><mac address='52:54:00:00:00:$3'/></interface>
  >   </devices>
  > </domain>
  > END
  >   virsh define $1.xml
  > }
  $ guest web 22222222-2222-4222-8222-222222222222 01
  Domain 'web' defined from web.xml
  $ guest keeps-its-devices 33333333-3333-4333-8333-333333333333 21
  Domain 'keeps-its-devices' defined from keeps-its-devices.xml
  $ guest refuses-to-unplug 44444444-4444-4444-8444-444444444444 31
  Domain 'refuses-to-unplug' defined from refuses-to-unplug.xml
  $ nic() { echo "<interface type='network'><mac address='52:54:00:00:00:$1'/><source network='${2:-hw}'${3:+ portgroup='$3'}/>$4</interface>" > nic.xml; }
  $ virsh start web
  Domain 'web' started

What cannot come
----------------

  $ nic 01
  $ virsh attach-device web nic.xml
  error: Failed to attach device from nic.xml
  error: Requested operation is not valid: the guest has an interface with MAC 52:54:00:00:00:01 already
  [1]
  $ nic 06 nowhere
  $ virsh attach-device web nic.xml
  error: Failed to attach device from nic.xml
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ nic 06 hw silver
  $ virsh attach-device web nic.xml
  error: Failed to attach device from nic.xml
  error: unsupported configuration: network 'hw' has no portgroup 'silver'
  [1]
  $ echo "<video><model type='vga'/></video>" > video.xml
  $ virsh attach-device web video.xml
  error: Failed to attach device from video.xml
  error: unsupported configuration: <video> as a device that comes and goes (at /video, line 1)
  [1]
  $ echo "<interface" > torn.xml
  $ virsh attach-device web torn.xml
  error: Failed to attach device from torn.xml
  error: XML error: not well-formed XML: unexpected end of stream
  [1]
  $ virsh attach-device nobody nic.xml
  error: failed to get domain 'nobody'
  [1]
  $ nic 06
  $ virsh attach-device refuses-to-unplug nic.xml
  error: Failed to attach device from nic.xml
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh attach-device refuses-to-unplug nic.xml --live
  error: Failed to attach device from nic.xml
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh -c "$READ_ONLY_URI" attach-device web nic.xml
  error: Failed to attach device from nic.xml
  error: operation forbidden: DOMAIN_ATTACH_DEVICE is not for read-only connections
  [1]
  $ virsh domiflist web | grep -c hostdev
  1

A VF comes
----------

  $ nic 02
  $ virsh attach-device web nic.xml
  Device attached successfully
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:01
   -           hostdev   -        rtl8139   52:54:00:00:00:02
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
  $ virsh attach-device web nic.xml --config
  Device attached successfully
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
   -           network   hw       rtl8139   52:54:00:00:00:02
  $ nic 03
  $ virsh attach-device --domain web --file nic.xml --persistent
  Device attached successfully
  $ nic 04
  $ virsh attach-device web nic.xml --live --config
  Device attached successfully
  $ nic 05
  $ virsh attach-device web nic.xml --current
  Device attached successfully
  $ nic 06
  $ virsh attach-device web nic.xml
  error: Failed to attach device from nic.xml
  error: Operation not supported: unsupported configuration: another device in a guest whose PCIe root ports all have one
  [1]
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:01
   -           hostdev   -        rtl8139   52:54:00:00:00:02
   -           hostdev   -        rtl8139   52:54:00:00:00:03
   -           hostdev   -        rtl8139   52:54:00:00:00:04
   -           hostdev   -        rtl8139   52:54:00:00:00:05
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
   -           network   hw       rtl8139   52:54:00:00:00:02
   -           network   hw       rtl8139   52:54:00:00:00:03
   -           network   hw       rtl8139   52:54:00:00:00:04
  $ virsh dumpxml web --xpath '//interface[last()]'
  <interface type="hostdev" managed="yes">
    <mac address="52:54:00:00:00:05"/>
    <driver name="vfio"/>
    <source>
      <address type="pci" domain="0x0000" bus="0x01" slot="0x11" function="0x0"/>
    </source>
    <model type="rtl8139"/>
    <alias name="hostdev4"/>
    <address type="pci" domain="0x0000" bus="0x06" slot="0x00" function="0x0"/>
  </interface>

A VF goes
---------

  $ nic 05
  $ virsh detach-device web nic.xml
  Device detached successfully
  $ virsh detach-device web nic.xml
  error: Failed to detach device from nic.xml
  error: device not found: the guest has no interface with MAC 52:54:00:00:00:05
  [1]
  $ nic 04
  $ virsh detach-device --domain web --file nic.xml --persistent
  Device detached successfully
  $ nic 03
  $ virsh detach-device web nic.xml --live
  Device detached successfully
  $ virsh detach-device web nic.xml --config
  Device detached successfully
  $ nic 02
  $ virsh detach-device web nic.xml --current
  Device detached successfully
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:01
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
   -           network   hw       rtl8139   52:54:00:00:00:02
  $ virsh detach-device-alias web hostdev0
  Device detach request sent successfully
  $ virsh detach-device-alias --domain web --alias hostdev0 --live
  error: Failed to detach device with alias hostdev0
  error: device not found: the guest has no device with alias 'hostdev0'
  [1]
  $ virsh domiflist web
   Interface   Type   Source   Model   MAC
  ------------------------------------------
  $ virsh detach-device-alias web ua-none --config
  error: Failed to detach device with alias ua-none
  error: device not found: the guest has no device with alias 'ua-none'
  [1]
  $ virsh detach-device-alias web ua-none --current
  error: Failed to detach device with alias ua-none
  error: device not found: the guest has no device with alias 'ua-none'
  [1]

A guest that does not let go
----------------------------

  $ virsh start keeps-its-devices && virsh start refuses-to-unplug
  Domain 'keeps-its-devices' started
  Domain 'refuses-to-unplug' started
  $ virsh detach-device-alias refuses-to-unplug hostdev0
  error: Failed to detach device with alias hostdev0
  error: operation failed: cannot detach 'hostdev0': the guest does not let go of it
  [1]
  $ virsh detach-device-alias keeps-its-devices hostdev0
  Device detach request sent successfully
  $ virsh domiflist keeps-its-devices
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:21
  $ virsh detach-device-alias keeps-its-devices hostdev0
  Device detach request sent successfully
  $ virsh destroy keeps-its-devices && virsh destroy refuses-to-unplug
  Domain 'keeps-its-devices' destroyed
  Domain 'refuses-to-unplug' destroyed

By words
--------

  $ virsh attach-interface web network hw --mac 52:54:00:00:00:07
  Interface attached successfully
  $ virsh attach-interface --domain web --type network --source hw --mac 52:54:00:00:00:08 --live --config
  Interface attached successfully
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:09 --persistent --alias ua-nine
  Interface attached successfully
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0a --current --model virtio
  Interface attached successfully
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0b --config --target tap7
  Interface attached successfully
  $ virsh attach-interface web hostdev 0000:01:11.2 --mac 52:54:00:00:00:0c --managed
  Interface attached successfully
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0d --print-xml
  <interface type='network'>
    <source network='hw'/>
    <mac address='52:54:00:00:00:0d'/>
  </interface>
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0d --script /bin/true
  error: Failed to attach interface
  error: unsupported configuration: element <script> (at /interface/script, line 4)
  [1]
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0d --inbound 1000
  error: Failed to attach interface
  error: unsupported configuration: element <bandwidth> (at /interface/bandwidth, line 4)
  [1]
  $ virsh attach-interface web network hw --mac 52:54:00:00:00:0d --outbound 1000
  error: Failed to attach interface
  error: unsupported configuration: element <bandwidth> (at /interface/bandwidth, line 4)
  [1]
  $ virsh attach-interface web direct ens1f0 --mac 52:54:00:00:00:0d --source-mode bridge
  error: Invalid source mode: bridge
  [1]
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:07
   -           hostdev   -        rtl8139   52:54:00:00:00:08
   -           hostdev   -        rtl8139   52:54:00:00:00:09
   -           hostdev   -        virtio    52:54:00:00:00:0a
   -           hostdev   -        -         52:54:00:00:00:0c
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
   -           network   hw       rtl8139   52:54:00:00:00:02
   -           network   hw       rtl8139   52:54:00:00:00:08
   -           network   hw       rtl8139   52:54:00:00:00:09
   tap7        network   hw       rtl8139   52:54:00:00:00:0b
  $ virsh detach-interface web hostdev --mac 52:54:00:00:00:07
  Interface detached successfully
  $ virsh detach-interface --domain web --type hostdev --mac 52:54:00:00:00:08 --live
  Interface detached successfully
  $ virsh detach-interface web network --mac 52:54:00:00:00:08 --config
  Interface detached successfully
  $ virsh detach-interface web network --mac 52:54:00:00:00:09 --persistent
  error: No interface found whose type is network
  error: Failed to detach interface
  [1]
  $ virsh detach-interface web hostdev --mac 52:54:00:00:00:09 --live
  Interface detached successfully
  $ virsh detach-interface web network --mac 52:54:00:00:00:09 --config
  error: No interface with MAC address 52:54:00:00:00:09 was found
  error: Failed to detach interface
  [1]
  $ virsh detach-interface web hostdev --mac 52:54:00:00:00:0a --current
  Interface detached successfully
  $ virsh detach-interface web network --mac 52:54:00:00:00:0b --config --print-xml
  <interface type="network">
        <mac address="52:54:00:00:00:0b"/>
        <source network="hw"/>
        <target dev="tap7"/>
        <model type="rtl8139"/>
      </interface>
  $ virsh detach-interface web network --mac 52:54:00:00:00:0b --config
  Interface detached successfully
  $ virsh detach-interface web hostdev --mac 52:54:00:00:00:0c
  Interface detached successfully
  $ virsh detach-interface web network --mac 52:54:00:00:00:ff
  error: No interface found whose type is network
  error: Failed to detach interface
  [1]
  $ virsh domiflist web
   Interface   Type   Source   Model   MAC
  ------------------------------------------
  $ virsh domiflist web --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
   -           network   hw       rtl8139   52:54:00:00:00:02

A disk
------

  $ truncate -s 1M disk.img
  $ disk() { echo "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$PWD/disk.img'/><target dev='$1' bus='${2:-virtio}'/></disk>" > disk.xml; }
  $ disk vdb
  $ virsh attach-device web disk.xml --persistent
  Device attached successfully
  $ virsh domblklist web | sed "s,$PWD,DIR,"
   Target   Source
  ------------------------------------
   vdb      DIR/disk.img
  $ virsh attach-device web disk.xml
  error: Failed to attach device from disk.xml
  error: Requested operation is not valid: the guest has a disk 'vdb' already
  [1]
  $ disk sdb scsi
  $ virsh attach-device web disk.xml
  error: Failed to attach device from disk.xml
  error: Operation not supported: unsupported configuration: a disk on bus 'scsi' for a guest that runs
  [1]
  $ disk vdc
  $ rm disk.img
  $ virsh attach-device web disk.xml 2>&1 | sed "s,$PWD,DIR,"
  error: Failed to attach device from disk.xml
  error: operation failed: cannot attach 'virtio-disk1' to guest 'web': cannot open DIR/disk.img: No such file or directory (os error 2)
  [1]
  $ disk vdb
  $ virsh detach-device web disk.xml --persistent
  Device detached successfully
  $ virsh domblklist web
   Target   Source
  ------------------
  $ virsh domblklist web --inactive
   Target   Source
  ------------------

An interface is changed
-----------------------

  $ nic 02
  $ virsh detach-device web nic.xml --config
  Device detached successfully
  $ virsh attach-device web nic.xml --persistent
  Device attached successfully
  $ nic 02 hw "" "<vlan><tag id='42'/></vlan>"
  $ virsh update-device web nic.xml --live
  Device updated successfully
  $ virsh dumpxml web --xpath '//interface/vlan'
  <vlan>
    <tag id="42"/>
  </vlan>
  $ virsh dumpxml web --inactive --xpath '//interface/vlan'
  $ virsh update-device web nic.xml --config
  Device updated successfully
  $ virsh dumpxml web --inactive --xpath '//interface/vlan'
  <vlan>
    <tag id="42"/>
  </vlan>
  $ nic 02 hw gold
  $ virsh update-device --domain web --file nic.xml --persistent
  Device updated successfully
  $ virsh dumpxml web --xpath '//interface/vlan'
  <vlan>
    <tag id="7"/>
  </vlan>
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:02
  $ nic 02 other
  $ virsh update-device web nic.xml --current
  Device updated successfully
  $ virsh dumpxml web --xpath '//interface/source'
  <source>
    <address type="pci" domain="0x0000" bus="0x01" slot="0x11" function="0x4"/>
  </source>
  $ nic 02 other "" "<model type='e1000'/>"
  $ virsh update-device web nic.xml --live
  error: Failed to update device from nic.xml
  error: Operation not supported: changing the model of an interface in use is not supported
  [1]
  $ virsh update-device web nic.xml --force
  error: Failed to update device from nic.xml
  error: Operation not supported: changing the model of an interface in use is not supported
  [1]
  $ nic 0e
  $ virsh update-device web nic.xml
  error: Failed to update device from nic.xml
  error: device not found: the guest has no interface with MAC 52:54:00:00:00:0e
  [1]
  $ virsh update-device web video.xml
  error: Failed to update device from video.xml
  error: unsupported configuration: <video> as a device that comes and goes (at /video, line 1)
  [1]
  $ nic 02 nowhere
  $ virsh update-device web nic.xml
  error: Failed to update device from nic.xml
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh domiflist web
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:02
  $ virsh domif-getlink web 52:54:00:00:00:02
  52:54:00:00:00:02 up
  $ virsh domif-setlink web 52:54:00:00:00:02 down
  error: Failed to update interface link state
  error: unsupported configuration: cannot change the link state of VF 0000:01:11.4, whose PF's driver is igb: it does not know that setting
  [1]
  $ virsh domif-setlink web 52:54:00:00:00:02 up
  Device updated successfully
  $ virsh dumpxml web --xpath "//interface" > nic.xml && virsh update-device web nic.xml
  Device updated successfully
  $ virsh net-port-list other | grep -c .
  3
  $ virsh domif-getlink --domain web --interface 52:54:00:00:00:02
  52:54:00:00:00:02 up
  $ virsh domif-setlink web 52:54:00:00:00:02 down --config
  Device updated successfully
  $ virsh domif-getlink web 52:54:00:00:00:02 --config
  52:54:00:00:00:02 down
  $ virsh domif-setlink --domain web --interface 52:54:00:00:00:02 --state up --config
  Device updated successfully
  $ virsh domif-setlink web 52:54:00:00:00:02 down --print-xml
  <interface type="hostdev" managed="yes">
        <mac address="52:54:00:00:00:02"/>
        <driver name="vfio"/>
        <source>
          <address type="pci" domain="0x0000" bus="0x01" slot="0x11" function="0x4"/>
        </source>
        <model type="rtl8139"/>
        <link state="down"/>
        <alias name="hostdev1"/>
        <address type="pci" domain="0x0000" bus="0x01" slot="0x00" function="0x0"/>
      </interface>
  $ virsh domif-setlink web 52:54:00:00:00:02 sideways
  error: invalid link state 'sideways'
  [1]
  $ virsh domif-setlink web 52:54:00:00:00:0e down
  error: interface '52:54:00:00:00:0e' not found
  [1]
  $ virsh net-update other add-last portgroup "<portgroup name='tagged' default='yes'><vlan><tag id='42'/></vlan></portgroup>" --live
  Updated network other live state
  $ for look in 1 2 3 4 5 6 7 8 9; do virsh dumpxml web --xpath "//interface/vlan" 2>/dev/null && break; sleep 0.2; done
  <vlan>
    <tag id="42"/>
  </vlan>
  $ virsh destroy web
  Domain 'web' destroyed
