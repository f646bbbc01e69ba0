Networks: their documents
=========================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <driver name='vfio'/>
  >     <pf dev='ens1f0'/>
  >   </forward>
  >   <vlan>
  >     <tag id='42'/>
  >   </vlan>
  >   <portgroup name='gold'>
  >     <vlan>
  >       <tag id='7'/>
  >     </vlan>
  >   </portgroup>
  > </network>
  > END
  $ virsh net-define hw.xml
  Network hw defined from hw.xml

One that is not active prints as it was defined; an active one with the VFs of its pool.

  $ virsh net-dumpxml hw | diff -B hw.xml -
  >
  $ virsh net-dumpxml --inactive hw | diff -B hw.xml -
  >
  $ virsh net-start hw
  Network hw started
  $ virsh net-dumpxml hw
  <network>
    <name>hw</name>
    <uuid>11111111-1111-4111-8111-111111111111</uuid>
    <forward mode='hostdev' managed='yes'>
      <driver name='vfio'/>
      <pf dev='ens1f0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x4'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x2'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x4'/>
    </forward>
    <vlan>
      <tag id='42'/>
    </vlan>
    <portgroup name='gold'>
      <vlan>
        <tag id='7'/>
      </vlan>
    </portgroup>
  </network>
  $ virsh net-dumpxml --network hw --inactive | diff -B hw.xml -
  >

Parts of it
-----------

  $ virsh net-dumpxml hw --xpath '//address[1]'
  <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
  $ virsh net-dumpxml hw --inactive --xpath '//tag'
  <tag id="42"/>
  <tag id="7"/>
  $ virsh net-dumpxml hw --inactive --xpath '//tag' --wrap
  <nodes>
    <tag id="42"/>
    <tag id="7"/>
  </nodes>
  $ virsh net-dumpxml hw --inactive --xpath 'count(//tag)'
  error: internal error: Incorrect xpath 'count(//tag)'
  [1]
  $ virsh net-dumpxml hw --xpath '//nothing'
  $ virsh net-dumpxml nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-dumpxml
  error: command 'net-dumpxml' requires <network> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-dumpxml --inactive hw --xpath 'string(//name)'
  error: internal error: Incorrect xpath 'string(//name)'
  [1]

In an editor
------------

What is edited is what will be started next. What is wrong can be edited again, or given up.

  $ EDITOR="sed -i 's/42/43/'" virsh net-edit hw
  Network hw XML configuration edited.
  $ virsh net-dumpxml hw --xpath '/network/vlan'
  <vlan>
    <tag id="42"/>
  </vlan>
  $ virsh net-dumpxml hw --inactive --xpath '/network/vlan'
  <vlan>
    <tag id="43"/>
  </vlan>
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-start hw
  Network hw started
  $ virsh net-dumpxml hw --xpath '/network/vlan'
  <vlan>
    <tag id="43"/>
  </vlan>
  $ EDITOR=true virsh net-edit --network hw
  Network hw XML configuration not changed.
  $ EDITOR=false virsh net-edit hw 2>&1 | sed 's/(.*)/(false FILE)/'
  error: internal error: Child process (false FILE) unexpected exit status 1
  [1]
  $ EDITOR="sed -i 's/43/4300/'" answer n net-edit hw
  error: XML error: 4300 is not a VLAN identifier (0 to 4095) (at /network/vlan/tag, line 9)
  Failed. Try again? [y,n,f,?]:
  [1]
  $ EDITOR="sed -i 's/>hw</>wh</'" answer n net-edit hw
  error: operation failed: network 'hw' is already defined with uuid 11111111-1111-4111-8111-111111111111
  Failed. Try again? [y,n,f,?]:
  [1]
  $ EDITOR="sed -i 's/vlan>/nonsense>/'" answer n net-edit hw
  error: unsupported configuration: element <nonsense> (at /network/nonsense, line 8)
  Failed. Try again? [y,n,f,?]:
  [1]
  $ EDITOR=true virsh net-edit nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ EDITOR="sed -i 's/43/44/'" answer n -c "$READ_ONLY_URI" net-edit hw
  error: operation forbidden: NETWORK_DEFINE_XML is not for read-only connections
  Failed. Try again? [y,n,f,?]:
  [1]
  $ virsh net-dumpxml hw --inactive --xpath '/network/vlan'
  <vlan>
    <tag id="43"/>
  </vlan>
