Networks: the ports of other daemons' guests
============================================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  >   <vlan>
  >     <tag id='42'/>
  >   </vlan>
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
  $ virsh net-define hw.xml
  Network hw defined from hw.xml
  $ virsh net-port-create hw port.xml
  error: Failed to create network from port.xml
  error: Requested operation is not valid: network 'hw' is not active
  [1]
  $ virsh net-port-list hw
   UUID
  -------
  $ virsh net-start hw
  Network hw started
  $ virsh net-port-list hw
   UUID
  -------

Made
----

  $ virsh net-port-create hw port.xml
  Network port 55555555-5555-4555-8555-555555555501 created from port.xml
  $ virsh net-port-list hw
   UUID
  ---------------------------------------
   55555555-5555-4555-8555-555555555501
  $ virsh net-port-list --network hw --table
   UUID
  ---------------------------------------
   55555555-5555-4555-8555-555555555501
  $ virsh net-port-list hw --uuid
  55555555-5555-4555-8555-555555555501
  $ virsh net-port-list hw --uuid --table
  error: Only one argument from --table and --uuid may be specified.
  [1]
  $ virsh net-port-list nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh -c "$READ_ONLY_URI" net-port-list hw --uuid
  55555555-5555-4555-8555-555555555501
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555501
  <networkport>
    <uuid>55555555-5555-4555-8555-555555555501</uuid>
    <owner>
      <name>far</name>
      <uuid>33333333-3333-4333-8333-333333333333</uuid>
    </owner>
    <mac address='52:54:00:00:00:01'/>
    <vlan>
      <tag id='42'/>
    </vlan>
    <plug type='hostdev-pci' managed='yes'>
      <driver name='vfio'/>
      <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
    </plug>
  </networkport>
  $ virsh net-port-dumpxml --network hw --port 55555555-5555-4555-8555-555555555501 --xpath '//plug/address'
  <address domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555501 --xpath '//mac' --wrap
  <nodes>
    <mac address="52:54:00:00:00:01"/>
  </nodes>
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555509
  error: failed to get network port '55555555-5555-4555-8555-555555555509'
  $ virsh net-port-dumpxml hw not-a-uuid
  error: failed to get network port 'not-a-uuid'
  $ virsh net-port-dumpxml hw
  error: command 'net-port-dumpxml' requires <port> option
  [1]
  $ virsh net-dumpxml hw --xpath '/network/@connections'
   connections="1"

Refused
-------

  $ virsh net-port-create hw port.xml
  error: Failed to create network from port.xml
  error: network port with UUID 55555555-5555-4555-8555-555555555501 exists already
  [1]
  $ sed 's/01<.uuid/02<\/uuid/' port.xml > twin.xml; virsh net-port-create hw twin.xml
  error: Failed to create network from twin.xml
  error: internal error: network 'hw': none of its 7 VFs can be lent: 0000:01:10.0 held by guest far of another daemon; 0000:01:10.2 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF; 0000:01:10.4 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF; 0000:01:10.6 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF; 0000:01:11.0 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF; 0000:01:11.2 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF; 0000:01:11.4 cannot have MAC 52:54:00:00:00:01: guest far of another daemon has it on 0000:01:10.0 (port 55555555-5555-4555-8555-555555555501) of the same PF
  [1]
  $ sed 's/<.owner>/&<group>gold<\/group>/; s/01/03/' port.xml > group.xml; virsh net-port-create hw group.xml
  error: Failed to create network from group.xml
  error: unsupported configuration: network 'hw' has no portgroup 'gold'
  [1]
  $ sed '/<mac/d' port.xml > without-mac.xml; virsh net-port-create hw without-mac.xml
  error: Failed to create network from without-mac.xml
  error: internal error: <networkport> needs <mac> (at /networkport, line 1)
  [1]
  $ sed '/<owner>/,/<.owner>/d' port.xml > without-owner.xml; virsh net-port-create hw without-owner.xml
  error: Failed to create network from without-owner.xml
  error: internal error: <networkport> needs <owner> (at /networkport, line 1)
  [1]
  $ sed "s/<mac.*/&<plug type='hostdev-pci'\/>/" port.xml > plug.xml; virsh net-port-create hw plug.xml
  error: Failed to create network from plug.xml
  error: XML error: a plug of type 'hostdev-pci' needs <address> (at /networkport/plug, line 7)
  [1]
  $ sed "s/<mac.*/&<plug type='network' bridge='br0'\/>/" port.xml > plug.xml; virsh net-port-create hw plug.xml
  error: Failed to create network from plug.xml
  error: unsupported configuration: a plug of type 'network': 'hostdev-pci' and 'bridge' are served (at /networkport/plug/@type)
  [1]
  $ echo '<networkport>' > broken.xml; virsh net-port-create hw broken.xml
  error: Failed to create network from broken.xml
  error: XML error: not well-formed XML: the root node was opened but never closed
  [1]
  $ echo '<port/>' > other.xml; virsh net-port-create hw --validate other.xml
  error: Failed to create network from other.xml
  error: XML error: unexpected root element <port>, expecting <networkport> (at /port, line 1)
  [1]
  $ virsh net-port-create hw nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh net-port-create nowhere port.xml
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-port-create hw
  error: command 'net-port-create' requires <file> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-port-create hw port.xml
  error: Failed to create network from port.xml
  error: operation forbidden: NETWORK_PORT_CREATE_XML is not for read-only connections
  [1]

All of them
-----------

A port with a VLAN of its own, and more until the pool is exhausted.

  $ sed "s/01/02/; s/<.owner>/&<vlan><tag id='7'\/><\/vlan>/" port.xml > second.xml
  $ virsh net-port-create --network hw --file second.xml --validate
  Network port 55555555-5555-4555-8555-555555555502 created from second.xml
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555502
  <networkport>
    <uuid>55555555-5555-4555-8555-555555555502</uuid>
    <owner>
      <name>far</name>
      <uuid>33333333-3333-4333-8333-333333333333</uuid>
    </owner>
    <mac address='52:54:00:00:00:02'/>
    <vlan>
      <tag id='7'/>
    </vlan>
    <plug type='hostdev-pci' managed='yes'>
      <driver name='vfio'/>
      <address domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
    </plug>
  </networkport>
  $ for n in 3 4 5 6 7; do sed "s/01/0$n/" port.xml > more.xml; virsh net-port-create hw more.xml; done
  Network port 55555555-5555-4555-8555-555555555503 created from more.xml
  Network port 55555555-5555-4555-8555-555555555504 created from more.xml
  Network port 55555555-5555-4555-8555-555555555505 created from more.xml
  Network port 55555555-5555-4555-8555-555555555506 created from more.xml
  Network port 55555555-5555-4555-8555-555555555507 created from more.xml
  $ sed "s/01/08/" port.xml > more.xml; virsh net-port-create hw more.xml
  error: Failed to create network from more.xml
  error: internal error: network 'hw': none of its 7 VFs can be lent: 0000:01:10.0 held by guest far of another daemon; 0000:01:10.2 held by guest far of another daemon; 0000:01:10.4 held by guest far of another daemon; 0000:01:10.6 held by guest far of another daemon; 0000:01:11.0 held by guest far of another daemon; 0000:01:11.2 held by guest far of another daemon; 0000:01:11.4 held by guest far of another daemon
  [1]
  $ virsh net-dumpxml hw --xpath '/network/@connections'
   connections="7"
  $ virsh net-destroy hw
  error: Failed to destroy network hw
  error: Requested operation is not valid: network 'hw' is in use: 0000:01:10.0 held by guest far of another daemon, and 6 more (to stop it and let the guests keep their VFs: vfnet net destroy --force hw)
  [1]

Given back
----------

  $ virsh net-port-delete hw 55555555-5555-4555-8555-555555555509
  error: failed to get network port '55555555-5555-4555-8555-555555555509'
  $ virsh -c "$READ_ONLY_URI" net-port-delete hw 55555555-5555-4555-8555-555555555501
  error: Failed to delete network port 55555555-5555-4555-8555-555555555501
  $ virsh net-port-delete hw 55555555-5555-4555-8555-555555555501
  Network port 55555555-5555-4555-8555-555555555501 deleted
  $ virsh net-port-delete hw 55555555-5555-4555-8555-555555555501
  error: failed to get network port '55555555-5555-4555-8555-555555555501'
  $ virsh net-port-delete hw
  error: command 'net-port-delete' requires <port> option
  [1]
  $ for n in 2 3 4 5 6; do virsh net-port-delete hw 55555555-5555-4555-8555-55555555550$n; done
  Network port 55555555-5555-4555-8555-555555555502 deleted
  Network port 55555555-5555-4555-8555-555555555503 deleted
  Network port 55555555-5555-4555-8555-555555555504 deleted
  Network port 55555555-5555-4555-8555-555555555505 deleted
  Network port 55555555-5555-4555-8555-555555555506 deleted
  $ virsh net-port-delete --network hw --port 55555555-5555-4555-8555-555555555507
  Network port 55555555-5555-4555-8555-555555555507 deleted
  $ virsh net-port-list hw --uuid
  $ virsh net-destroy hw
  Network hw destroyed
