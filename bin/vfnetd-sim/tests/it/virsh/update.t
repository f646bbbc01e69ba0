Networks: updating a part
=========================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  >   <portgroup name='gold'>
  >   </portgroup>
  > </network>
  > END
  $ virsh net-define hw.xml
  Network hw defined from hw.xml

Port groups
-----------

  $ virsh net-update hw add portgroup "<portgroup name='silver'/>" --config
  Updated network hw persistent config
  $ virsh net-update hw add-last portgroup "<portgroup name='silver'/>" --config
  error: Failed to update network hw
  error: Requested operation is not valid: network 'hw' has already a portgroup 'silver'
  [1]
  $ virsh net-update hw add-first portgroup "<portgroup name='tin'/>" --config
  Updated network hw persistent config
  $ virsh net-update hw modify portgroup "<portgroup name='tin' default='yes'/>" --config
  Updated network hw persistent config
  $ virsh net-update hw modify portgroup "<portgroup name='lead'/>" --config
  error: Failed to update network hw
  error: Requested operation is not valid: network 'hw' does not have a portgroup 'lead'
  [1]
  $ virsh net-update hw add portgroup "<portgroup name='lead' default='yes'/>" --config
  error: Failed to update network hw
  error: Requested operation is not valid: portgroup 'lead' cannot be the default one: network 'hw' has 'tin'
  [1]
  $ virsh net-update hw delete portgroup "<portgroup name='gold'/>" --config
  Updated network hw persistent config
  $ virsh net-update hw delete portgroup "<portgroup name='gold'/>" --config
  error: Failed to update network hw
  error: Requested operation is not valid: network 'hw' does not have a portgroup 'gold'
  [1]
  $ virsh net-dumpxml hw
  <network>
    <name>hw</name>
    <uuid>11111111-1111-4111-8111-111111111111</uuid>
    <forward mode='hostdev' managed='yes'>
      <pf dev='ens1f0'/>
    </forward>
    <portgroup name='tin' default='yes'>
    </portgroup>
    <portgroup name='silver'>
    </portgroup>
  </network>
  $ virsh net-update hw add portgroup "<portgroup/>" --config
  error: Failed to update network hw
  error: XML error: <portgroup> needs the attribute 'name' (at /portgroup, line 1)
  [1]
  $ virsh net-update hw add portgroup "<pf dev='ens1f0'/>" --config
  error: Failed to update network hw
  error: XML error: unexpected root element <pf>, expecting <portgroup> (at /pf, line 1)
  [1]
  $ virsh net-update hw add portgroup "<portgroup name='lead'>" --config
  error: Failed to update network hw
  error: XML error: not well-formed XML: the root node was opened but never closed
  [1]
  $ virsh net-update hw add portgroup "<portgroup name='lead'><bandwidth><inbound average='1'/></bandwidth></portgroup>" --config
  error: Failed to update network hw
  error: unsupported configuration: <bandwidth>: the host does not see the traffic of a VF (at /network/portgroup[3]/bandwidth)
  [1]
  $ virsh net-update hw add portgroup "<portgroup name='lead'/>" --live
  error: Failed to update network hw
  error: Requested operation is not valid: network 'hw' is not active
  [1]

Live, for the next start, or both
---------------------------------

  $ virsh net-start hw
  Network hw started
  $ echo "<portgroup name='lead'><vlan><tag id='7'/></vlan></portgroup>" > lead.xml
  $ virsh net-update --network hw --command add --section portgroup --xml lead.xml --live
  Updated network hw live state
  $ virsh net-dumpxml hw --xpath '//portgroup'
  <portgroup name="tin" default="yes">
    </portgroup>
  <portgroup name="silver">
    </portgroup>
  <portgroup name="lead">
    <vlan>
      <tag id="7"/>
    </vlan>
  </portgroup>
  $ virsh net-dumpxml hw --inactive --xpath '//portgroup'
  <portgroup name="tin" default="yes">
    </portgroup>
  <portgroup name="silver">
    </portgroup>
  $ virsh net-update hw delete portgroup "<portgroup name='lead'/>" --current
  Updated network hw live state
  $ virsh net-update hw add portgroup lead.xml --config --live
  Updated network hw persistent config and live state
  $ virsh net-update hw modify portgroup "<portgroup name='lead'/>"
  Updated network hw live state
  $ virsh net-dumpxml hw --xpath '//portgroup[@name="lead"]'
  <portgroup name="lead">
    </portgroup>
  $ virsh net-dumpxml hw --inactive --xpath '//portgroup[@name="lead"]'
  <portgroup name="lead">
    <vlan>
      <tag id="7"/>
    </vlan>
  </portgroup>
  $ virsh net-update hw delete portgroup "<portgroup name='lead'/>" --parent-index 0 --config --live
  Updated network hw persistent config and live state
  $ virsh net-update hw delete portgroup lead.xml --live --current
  error: Options --current and --live are mutually exclusive
  [1]
  $ virsh net-update hw add portgroup nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh net-update nowhere add portgroup lead.xml
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-update hw replace portgroup lead.xml
  error: unrecognized command name 'replace'
  [1]
  $ virsh net-update hw add nonsense lead.xml
  error: unrecognized section name 'nonsense'
  [1]
  $ virsh net-update hw add portgroup
  error: command 'net-update' requires <xml> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-update hw add portgroup lead.xml
  error: Failed to update network hw
  error: operation forbidden: NETWORK_UPDATE is not for read-only connections
  [1]

A network that is transient has no next start.

  $ sed 's/hw</passing</; /<uuid>/d' hw.xml > passing.xml
  $ virsh net-create passing.xml
  Network passing created from passing.xml
  $ virsh net-update passing add portgroup lead.xml --config
  error: Failed to update network passing
  error: Requested operation is not valid: network 'passing' is transient: it has no configuration
  [1]
  $ virsh net-update passing add portgroup lead.xml
  Updated network passing live state
  $ virsh net-destroy passing
  Network passing destroyed

Sections that a pool of VFs does not have
-----------------------------------------

  $ virsh net-update hw modify forward "<forward mode='hostdev'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'forward' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw modify bridge "<bridge name='br0'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'bridge' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw modify domain "<domain name='x'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'domain' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw add ip "<ip address='10.0.0.1'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'ip' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw add ip-dhcp-host "<host mac='52:54:00:00:00:01' ip='10.0.0.2'/>"
  error: Failed to update network hw
  error: Requested operation is not valid: cannot update section 'ip-dhcp-host': network 'hw' has no <ip> that serves DHCP
  [1]
  $ virsh net-update hw add ip-dhcp-range "<range start='10.0.0.2' end='10.0.0.9'/>"
  error: Failed to update network hw
  error: Requested operation is not valid: cannot update section 'ip-dhcp-range': network 'hw' has no <ip> that serves DHCP
  [1]
  $ virsh net-update hw add forward-pf "<pf dev='ens2f0'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'forward-pf' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw add dns-host "<host ip='10.0.0.2'><hostname>a</hostname></host>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'dns-host' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw add dns-txt "<txt name='a' value='b'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'dns-txt' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]
  $ virsh net-update hw add dns-srv "<srv service='a' protocol='tcp'/>"
  error: Failed to update network hw
  error: Operation not supported: cannot update section 'dns-srv' of a network: 'portgroup' and 'forward-interface' can be updated, for others define the network anew
  [1]

Members of the pool
-------------------

One can be added, and removed when it is free.

  $ cat > two.xml <<END
  > <network>
  >   <name>two</name>
  >   <uuid>22222222-2222-4222-8222-222222222222</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-define two.xml
  Network two defined from two.xml
  $ virsh net-start two
  Network two started
  $ virsh net-update two add forward-interface "<address type='pci' domain='0' bus='1' slot='0x10' function='2'/>" --live
  Updated network two live state
  $ virsh net-update two add forward-interface "<address type='pci' domain='0' bus='1' slot='0x10' function='2'/>" --live
  error: Failed to update network two
  error: Requested operation is not valid: the pool of network 'two' has already the member 0000:01:10.2
  [1]
  $ virsh net-update two add forward-interface "<interface dev='ens1f0v2'/>" --live --config
  error: Failed to update network two
  error: Requested operation is not valid: the pool of network 'two' is of VFs by <address>: it has no member <interface>
  [1]
  $ virsh net-update two add forward-interface "<interface dev='lo'/>" --live
  error: Failed to update network two
  error: Requested operation is not valid: the pool of network 'two' is of VFs by <address>: it has no member <interface>
  [1]
  $ virsh net-update two add forward-interface "<address type='pci' domain='0' bus='1' slot='0' function='0'/>" --live
  error: Failed to update network two
  error: unsupported configuration: network 'two': 0000:01:00.0 is not an SR-IOV Virtual Function
  [1]
  $ virsh net-update two add forward-interface "<interface/>" --live
  error: Failed to update network two
  error: XML error: <interface> needs the attribute 'dev' (at /interface, line 1)
  [1]
  $ virsh net-update two modify forward-interface "<interface dev='ens1f0v2'/>" --live
  error: Failed to update network two
  error: Operation not supported: a member of a pool cannot be modified: delete it and add another
  [1]
  $ virsh net-dumpxml two --xpath '//forward'
  <forward mode="hostdev" managed="yes">
    <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
    <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x2"/>
  </forward>
  $ virsh net-dumpxml two --inactive --xpath '//forward'
  <forward mode="hostdev" managed="yes">
    <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
  </forward>
  $ cat > port.xml <<END
  > <networkport>
  >   <uuid>55555555-5555-4555-8555-555555555555</uuid>
  >   <owner><name>far</name><uuid>33333333-3333-4333-8333-333333333333</uuid></owner>
  >   <mac address='52:54:00:00:00:01'/>
  > </networkport>
  > END
  $ virsh net-port-create two port.xml
  Network port 55555555-5555-4555-8555-555555555555 created from port.xml
  $ virsh net-update two delete forward-interface "<address type='pci' domain='0' bus='1' slot='0x10' function='0'/>" --live
  error: Failed to update network two
  error: Requested operation is not valid: a member of the pool of network 'two' is in use: 0000:01:10.0 is held by guest far of another daemon
  [1]
  $ virsh net-update two delete forward-interface "<address type='pci' domain='0' bus='1' slot='0x10' function='2'/>" --live
  Updated network two live state
  $ virsh net-update two delete forward-interface "<address type='pci' domain='0' bus='1' slot='0x10' function='2'/>" --live
  error: Failed to update network two
  error: Requested operation is not valid: the pool of network 'two' does not have the member 0000:01:10.2
  [1]
  $ virsh net-dumpxml two
  <network connections='1'>
    <name>two</name>
    <uuid>22222222-2222-4222-8222-222222222222</uuid>
    <forward mode='hostdev' managed='yes'>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
    </forward>
  </network>

A pool of interfaces' names is resolved at start; names can be added and removed.

  $ cat > three.xml <<END
  > <network>
  >   <name>three</name>
  >   <uuid>33333333-3333-4333-8333-333333333333</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <interface dev='ens1f0v3'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-define three.xml
  Network three defined from three.xml
  $ virsh net-start three
  Network three started
  $ virsh net-update three add-first forward-interface "<interface dev='ens1f0v4'/>" --live --config
  Updated network three persistent config and live state
  $ virsh net-update three add forward-interface "<interface dev='ens1f0v4'/>" --live --config
  error: Failed to update network three
  error: Requested operation is not valid: the pool of network 'three' has already the member ens1f0v4
  [1]
  $ virsh net-update three add forward-interface "<interface dev='lo'/>" --live
  error: Failed to update network three
  error: unsupported configuration: network 'three': 'lo' is not the netdev of an SR-IOV Virtual Function
  [1]
  $ virsh net-dumpxml three
  <network>
    <name>three</name>
    <uuid>33333333-3333-4333-8333-333333333333</uuid>
    <forward mode='hostdev' managed='yes'>
      <interface dev='ens1f0v4'/>
      <interface dev='ens1f0v3'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>
    </forward>
  </network>
  $ virsh net-update three delete forward-interface "<interface dev='ens1f0v3'/>" --live --config
  Updated network three persistent config and live state
  $ virsh net-update three delete forward-interface "<interface dev='ens1f0v3'/>" --live
  error: Failed to update network three
  error: Requested operation is not valid: the pool of network 'three' does not have the member ens1f0v3
  [1]
  $ virsh net-dumpxml three --xpath //forward
  <forward mode="hostdev" managed="yes">
    <interface dev="ens1f0v4"/>
    <address type="pci" domain="0x0000" bus="0x01" slot="0x11" function="0x0"/>
  </forward>
  $ virsh net-dumpxml three --inactive --xpath //forward
  <forward mode="hostdev" managed="yes">
    <interface dev="ens1f0v4"/>
  </forward>
