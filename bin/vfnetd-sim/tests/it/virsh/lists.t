Networks: what there is, and finding it
=======================================

Nothing at first.

  $ virsh net-list
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh net-list --all
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh net-list --name

One that is persistent and active, one that is persistent and inactive, one that is transient.

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <title>The fast ones</title>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ cat > kept.xml <<END
  > <network>
  >   <name>kept</name>
  >   <uuid>22222222-2222-4222-8222-222222222222</uuid>
  >   <forward mode='bridge'/>
  >   <bridge name='br0'/>
  > </network>
  > END
  $ sed 's/kept/passing/; s/2222-4222/2222-4333/' kept.xml > passing.xml
  $ virsh net-define hw.xml
  Network hw defined from hw.xml
  $ virsh net-start hw
  Network hw started
  $ virsh net-define kept.xml
  Network kept defined from kept.xml
  $ virsh net-autostart kept
  Network kept marked as autostarted
  $ virsh net-create passing.xml
  Network passing created from passing.xml

  $ virsh net-list
   Name      State    Autostart   Persistent
  --------------------------------------------
   hw        active   no          yes
   passing   active   no          no
  $ virsh net-list --all
   Name      State      Autostart   Persistent
  ----------------------------------------------
   hw        active     no          yes
   kept      inactive   yes         yes
   passing   active     no          no
  $ virsh net-list --inactive
   Name   State      Autostart   Persistent
  -------------------------------------------
   kept   inactive   yes         yes
  $ virsh net-list --persistent
   Name   State    Autostart   Persistent
  -----------------------------------------
   hw     active   no          yes
  $ virsh net-list --transient
   Name      State    Autostart   Persistent
  --------------------------------------------
   passing   active   no          no
  $ virsh net-list --autostart
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh net-list --autostart --all
   Name   State      Autostart   Persistent
  -------------------------------------------
   kept   inactive   yes         yes
  $ virsh net-list --no-autostart
   Name      State    Autostart   Persistent
  --------------------------------------------
   hw        active   no          yes
   passing   active   no          no
  $ virsh net-list --inactive --transient
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh net-list --persistent --transient --all
   Name      State      Autostart   Persistent
  ----------------------------------------------
   hw        active     no          yes
   kept      inactive   yes         yes
   passing   active     no          no
  $ virsh net-list --name
  hw
  passing
  $ virsh net-list --uuid
  11111111-1111-4111-8111-111111111111
  22222222-2222-4333-8222-222222222222
  $ virsh net-list --uuid --inactive
  22222222-2222-4222-8222-222222222222
  $ virsh net-list --table --all
   Name      State      Autostart   Persistent
  ----------------------------------------------
   hw        active     no          yes
   kept      inactive   yes         yes
   passing   active     no          no
  $ virsh net-list --title --all
   Name      State      Autostart   Persistent   Title
  --------------------------------------------------------------
   hw        active     no          yes          The fast ones
   kept      inactive   yes         yes
   passing   active     no          no
  $ virsh net-list --name --all --title
  hw
  kept
  passing
  $ virsh net-list --uuid --name
  error: Only one argument from --table, --name and --uuid may be specified.
  [1]
  $ virsh net-list --table --name
  error: Only one argument from --table, --name and --uuid may be specified.
  [1]
  $ virsh net-list --everything
  error: command 'net-list' doesn't support option --everything
  [1]

The same of a connection that may only read.

  $ virsh -c "$READ_ONLY_URI" net-list --all
   Name      State      Autostart   Persistent
  ----------------------------------------------
   hw        active     no          yes
   kept      inactive   yes         yes
   passing   active     no          no

By name and by UUID
-------------------

  $ virsh net-uuid hw
  11111111-1111-4111-8111-111111111111
  $ virsh net-uuid --network kept
  22222222-2222-4222-8222-222222222222
  $ virsh net-uuid nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-uuid
  error: command 'net-uuid' requires <network> option
  [1]
  $ virsh net-name 11111111-1111-4111-8111-111111111111
  hw
  $ virsh net-name --network 22222222-2222-4333-8222-222222222222
  passing
  $ virsh net-name 99999999-9999-4999-8999-999999999999
  error: failed to get network '99999999-9999-4999-8999-999999999999'
  error: Network not found: no network with matching uuid '99999999-9999-4999-8999-999999999999'
  [1]
  $ virsh net-name hw
  error: failed to get network 'hw'
  [1]
  $ virsh net-name not-a-uuid
  error: failed to get network 'not-a-uuid'
  [1]

  $ virsh net-info hw
  Name:           hw
  UUID:           11111111-1111-4111-8111-111111111111
  Active:         yes
  Persistent:     yes
  Autostart:      no
  $ virsh net-info --network 22222222-2222-4222-8222-222222222222
  Name:           kept
  UUID:           22222222-2222-4222-8222-222222222222
  Active:         no
  Persistent:     yes
  Autostart:      yes
  Bridge:         br0
  $ virsh net-info passing
  Name:           passing
  UUID:           22222222-2222-4333-8222-222222222222
  Active:         yes
  Persistent:     no
  Autostart:      no
  Bridge:         br0
  $ virsh net-info nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-info 99999999-9999-4999-8999-999999999999
  error: failed to get network '99999999-9999-4999-8999-999999999999'
  error: Network not found: no network with matching name '99999999-9999-4999-8999-999999999999'
  [1]
  $ virsh net-info
  error: command 'net-info' requires <network> option
  [1]

Leases
------

A pool of VFs knows of none.

  $ virsh net-dhcp-leases hw
   Expiry Time   MAC address   Protocol   IP address   Hostname   Client ID or DUID
  -----------------------------------------------------------------------------------
  $ virsh net-dhcp-leases hw --mac 52:54:00:00:00:01
   Expiry Time   MAC address   Protocol   IP address   Hostname   Client ID or DUID
  -----------------------------------------------------------------------------------
  $ virsh net-dhcp-leases --network hw --mac nonsense
  error: Failed to get leases info for hw
  error: invalid MAC address: nonsense
  [1]
  $ virsh net-dhcp-leases nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
