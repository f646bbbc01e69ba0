Networks: events
================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ sed 's/hw</other</; /<uuid>/d' hw.xml > other.xml
  $ virsh net-define hw.xml
  Network hw defined from hw.xml

  $ virsh net-event --list
  lifecycle
  metadata-change
  $ virsh net-event
  error: either --list or --event <type> is required
  [1]
  $ virsh net-event --event nonsense
  error: unknown event type nonsense
  [1]
  $ virsh net-event --event lifecycle --timeout nonsense
  error: Numeric value 'nonsense' for <timeout> option is malformed or out of range
  [1]

One event
---------

  $ listen 'virsh net-define hw.xml' virsh net-event --event lifecycle
  $ quiet
  event 'lifecycle' for network hw: Defined
  $ virsh net-event lifecycle
  error: either --list or --event <type> is required
  [1]
  $ listen 'virsh net-define hw.xml' virsh net-event --event lifecycle --timestamp
  $ quiet
  WHEN: event 'lifecycle' for network hw: Defined
  $ listen 'virsh net-define hw.xml' virsh -c "$READ_ONLY_URI" net-event --event lifecycle
  $ quiet
  event 'lifecycle' for network hw: Defined
  $ listen 'virsh net-define hw.xml' virsh -c "$NETWORK_URI" net-event --event lifecycle
  $ quiet
  event 'lifecycle' for network hw: Defined

None
----

  $ virsh net-event --event lifecycle --timeout 1
  event loop timed out
  events received: 0
  [1]

All, in their order
-------------------

  $ listen 'virsh net-define hw.xml' virsh net-event --event lifecycle --loop
  $ virsh net-start hw
  Network hw started
  $ virsh net-define other.xml
  Network other defined from other.xml
  $ virsh net-undefine other
  Network other has been undefined
  $ virsh net-create other.xml
  Network other created from other.xml
  $ virsh net-destroy other
  Network other destroyed
  $ virsh net-destroy hw
  Network hw destroyed
  $ heard 'hw: Stopped'
  event 'lifecycle' for network hw: Defined
  event 'lifecycle' for network hw: Started
  event 'lifecycle' for network other: Defined
  event 'lifecycle' for network other: Undefined
  event 'lifecycle' for network other: Started
  event 'lifecycle' for network other: Stopped
  event 'lifecycle' for network hw: Stopped
  event loop interrupted

Of one network
--------------

  $ listen 'virsh net-define hw.xml' virsh net-event --event lifecycle --loop --network 11111111-1111-4111-8111-111111111111
  $ virsh net-define other.xml
  Network other defined from other.xml
  $ virsh net-start other
  Network other started
  $ virsh net-start hw
  Network hw started
  $ virsh net-destroy other
  Network other destroyed
  $ virsh net-undefine other
  Network other has been undefined
  $ virsh net-destroy hw
  Network hw destroyed
  $ heard 'hw: Stopped'
  event 'lifecycle' for network hw: Defined
  event 'lifecycle' for network hw: Started
  event 'lifecycle' for network hw: Stopped
  event loop interrupted

What was changed
----------------

  $ listen 'virsh net-desc hw --new-desc text' virsh net-event --event metadata-change --loop
  $ virsh net-desc hw --title --new-desc Fast
  Network title updated successfully
  $ virsh net-metadata hw http://rack.example/ --key rack --set '<place row="4"/>'
  Metadata modified
  $ virsh net-metadata hw http://rack.example/ --remove
  Metadata removed
  $ virsh net-metadata hw http://last.example/ --key last --set '<end/>'
  Metadata modified
  $ heard 'last.example'
  event 'metadata-change' for network hw: type description, uri <null>
  event 'metadata-change' for network hw: type title, uri <null>
  event 'metadata-change' for network hw: type element, uri http://rack.example/
  event 'metadata-change' for network hw: type element, uri http://rack.example/
  event 'metadata-change' for network hw: type element, uri http://last.example/
  event loop interrupted
