Networks: titles, descriptions and other people's metadata
==========================================================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-define hw.xml
  Network hw defined from hw.xml

Titles and descriptions
-----------------------

  $ virsh net-desc hw
  No description for network: hw
  $ virsh net-desc hw --title
  No title for network: hw
  $ virsh net-desc hw Rack 4, upper card
  Network description updated successfully
  $ virsh net-desc hw
  Rack 4, upper card
  $ virsh net-desc hw --title --new-desc Fast
  Network title updated successfully
  $ virsh net-desc --network hw --title
  Fast
  $ virsh net-desc hw --title --new-desc 'two
  > lines'
  error: Failed to set new network title
  error: metadata title can't contain newlines
  [1]
  $ virsh net-desc hw --live
  error: Requested operation is not valid: network 'hw' is not active
  [1]
  $ virsh net-desc hw --live --new-desc 'not running'
  error: Requested operation is not valid: network 'hw' is not active
  [1]
  $ virsh net-start hw
  Network hw started
  $ virsh net-desc hw --live --new-desc 'As long as it runs'
  Network description updated successfully
  $ virsh net-desc hw --live
  As long as it runs
  $ virsh net-desc hw --config
  Rack 4, upper card
  $ virsh net-desc hw --current
  As long as it runs
  $ virsh net-desc hw --current --new-desc 'As long as it runs, too'
  Network description updated successfully
  $ virsh net-desc hw --config --new-desc 'From the next start'
  Network description updated successfully
  $ virsh net-desc hw
  As long as it runs, too
  $ virsh net-desc hw --config
  From the next start
  $ virsh net-desc hw --live --config --new-desc 'Now and then'
  error: Flags 'VIR_NETWORK_UPDATE_AFFECT_LIVE' and 'VIR_NETWORK_UPDATE_AFFECT_CONFIG' are mutually exclusive
  [1]
  $ virsh net-desc hw --live
  As long as it runs, too
  $ virsh net-desc hw --config
  From the next start
  $ virsh net-desc hw --live --config
  error: Flags 'VIR_NETWORK_UPDATE_AFFECT_LIVE' and 'VIR_NETWORK_UPDATE_AFFECT_CONFIG' are mutually exclusive
  [1]
  $ virsh net-desc hw --live --current
  error: Options --current and --live are mutually exclusive
  [1]
  $ EDITOR="sed -i 's/Now/Here/'" virsh net-desc hw --edit
  Network description not changed
  $ virsh net-desc hw
  As long as it runs, too
  $ EDITOR=true virsh net-desc hw --edit
  Network description not changed
  $ EDITOR="sed -i 's/Fast/Faster/'" virsh net-desc hw --edit --title --config
  Network title updated successfully
  $ virsh net-desc hw --config --title
  Faster
  $ virsh net-list --title
   Name   State    Autostart   Persistent   Title
  -------------------------------------------------
   hw     active   no          yes          Fast
  $ virsh net-desc hw --config --title ''
  Network title updated successfully
  $ virsh net-desc hw --config --title
  No title for network: hw
  $ virsh net-desc nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh -c "$READ_ONLY_URI" net-desc hw
  As long as it runs, too
  $ virsh -c "$READ_ONLY_URI" net-desc hw no
  error: Failed to set new network description
  error: operation forbidden: NETWORK_SET_METADATA is not for read-only connections
  [1]
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-desc hw
  From the next start

Metadata
--------

  $ virsh net-metadata hw http://rack.example/
  $ virsh net-metadata hw http://rack.example/ --key rack --set '<place row="4"/>'
  Metadata modified
  $ virsh net-metadata hw http://rack.example/
  <place row="4"/>
  $ virsh net-metadata --network hw --uri http://rack.example/ --config
  <place row="4"/>
  $ virsh net-dumpxml hw
  <network>
    <name>hw</name>
    <uuid>11111111-1111-4111-8111-111111111111</uuid>
    <description>From the next start</description>
    <metadata>
      <rack:place xmlns:rack='http://rack.example/' row="4"/>
    </metadata>
    <forward mode='hostdev' managed='yes'>
      <pf dev='ens1f0'/>
    </forward>
  </network>
  $ virsh net-metadata hw http://rack.example/ --set '<place row="5"/>'
  error: namespace key is required when modifying metadata
  [1]
  $ virsh net-metadata hw http://rack.example/ --key rack --set 'no element'
  error: XML error: not well-formed XML: unknown token at 1:1
  [1]
  $ virsh net-metadata hw http://rack.example/ --live
  error: Requested operation is not valid: network 'hw' is not active
  [1]
  $ virsh net-start hw
  Network hw started
  $ virsh net-metadata hw http://rack.example/ --live
  <place row="4"/>
  $ virsh net-metadata hw http://rack.example/ --live --key rack --set '<place row="6"/>'
  Metadata modified
  $ virsh net-metadata hw http://rack.example/ --current
  <place row="6"/>
  $ virsh net-metadata hw http://rack.example/ --config
  <place row="4"/>
  $ EDITOR="sed -i 's/6/7/'" virsh net-metadata hw http://rack.example/ --edit --key rack
  Metadata modified
  $ virsh net-metadata hw http://rack.example/
  <place row="7"/>
  $ virsh net-metadata hw http://other.example/ --key other --set '<more/>' --live --config
  Metadata modified
  $ virsh net-metadata hw http://rack.example/ --remove
  Metadata removed
  $ virsh net-metadata hw http://rack.example/
  $ virsh net-metadata hw http://rack.example/ --config
  <place row="4"/>
  $ virsh net-metadata hw http://rack.example/ --config --remove
  Metadata removed
  $ virsh net-metadata hw http://rack.example/ --config
  $ virsh net-metadata hw http://rack.example/ --config --remove
  Metadata removed
  $ virsh net-dumpxml hw --xpath '//metadata'
  <metadata>
    <other:more xmlns:other="http://other.example/"/>
  </metadata>
  $ virsh net-metadata hw http://rack.example/ --set '<a/>' --remove
  error: Options --remove and --set are mutually exclusive
  [1]
  $ virsh net-metadata nowhere http://rack.example/
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-metadata hw
  error: command 'net-metadata' requires <uri> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-metadata hw http://other.example/
  <more/>
  $ virsh -c "$READ_ONLY_URI" net-metadata hw http://other.example/ --remove
  error: operation forbidden: NETWORK_SET_METADATA is not for read-only connections
  [1]
