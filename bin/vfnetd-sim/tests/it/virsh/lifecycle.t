Networks: from definition to removal
====================================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END

Defining
--------

  $ virsh net-define hw.xml
  Network hw defined from hw.xml
  $ virsh net-define --validate hw.xml
  Network hw defined from hw.xml
  $ virsh net-define --file hw.xml --validate
  Network hw defined from hw.xml
  $ virsh net-define nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh net-define
  error: command 'net-define' requires <file> option
  [1]
  $ echo '<network>' > broken.xml; virsh net-define broken.xml
  error: Failed to define network from broken.xml
  error: XML error: not well-formed XML: the root node was opened but never closed
  [1]
  $ echo '<network/>' > nameless.xml; virsh net-define nameless.xml
  error: Failed to define network from nameless.xml
  error: the network has no <name> (at /network, line 1)
  [1]
  $ echo '<domain/>' > domain.xml; virsh net-define domain.xml
  error: Failed to define network from domain.xml
  error: XML error: unexpected root element <domain>, expecting <network> (at /domain, line 1)
  [1]
  $ sed 's/hw</a\/b</' hw.xml > slash.xml; virsh net-define slash.xml
  error: Failed to define network from slash.xml
  error: invalid char in network name: '/' (at /network/name, line 2)
  [1]
  $ sed '/<uuid>/s/1111-/x/' hw.xml > uuid.xml; virsh net-define uuid.xml
  error: Failed to define network from uuid.xml
  error: internal error: '1111x1111-4111-8111-111111111111' is not a UUID (at /network/uuid, line 3)
  [1]
  $ sed '/<uuid>/s/1111/2222/' hw.xml > other.xml; virsh net-define other.xml
  error: Failed to define network from other.xml
  error: operation failed: network 'hw' already exists with uuid 11111111-1111-4111-8111-111111111111 (to change it, give that <uuid> in the document, or use virsh net-edit)
  [1]
  $ sed 's/hw</wh</' hw.xml > name.xml; virsh net-define name.xml
  error: Failed to define network from name.xml
  error: operation failed: network 'hw' is already defined with uuid 11111111-1111-4111-8111-111111111111
  [1]
  $ sed 's/<pf/<nonsense/' hw.xml > nonsense.xml; virsh net-define nonsense.xml
  error: Failed to define network from nonsense.xml
  error: unsupported configuration: element <nonsense> (at /network/forward/nonsense, line 5)
  [1]
  $ virsh net-define --validate nonsense.xml
  error: Failed to define network from nonsense.xml
  error: unsupported configuration: element <nonsense> (at /network/forward/nonsense, line 5)
  [1]
  $ sed '/<forward/,/<.forward/d' hw.xml > nat.xml; virsh net-define nat.xml
  error: Failed to define network from nat.xml
  error: unsupported configuration: network 'hw': vfnet serves forward modes 'hostdev' and 'bridge' (onto an existing bridge); others are handed on where network_daemon in vfnetd.toml names a stock network daemon's socket, and none is named
  [1]
  $ sed "s/<pf.*//; s/hostdev' managed='yes/bridge/" hw.xml > nameless-bridge.xml; virsh net-define nameless-bridge.xml
  error: Failed to define network from nameless-bridge.xml
  error: unsupported configuration: network 'hw': vfnet serves forward mode 'bridge' with <bridge name='…'/>, an existing bridge of the host; without, it is handed on where network_daemon in vfnetd.toml names a stock network daemon's socket, and none is named
  [1]
  $ sed "s/<.forward>/&<ip address='10.0.0.1'\/>/" hw.xml > ip.xml; virsh net-define ip.xml
  error: Failed to define network from ip.xml
  error: unsupported configuration: <ip>: the host has no address in such a network (at /network/ip)
  [1]
  $ virsh -c "$READ_ONLY_URI" net-define hw.xml
  error: Failed to define network from hw.xml
  error: operation forbidden: NETWORK_DEFINE_XML is not for read-only connections
  [1]

Starting and stopping
---------------------

  $ virsh net-start hw
  Network hw started
  $ virsh net-start hw
  error: Failed to start network hw
  error: Requested operation is not valid: network 'hw' is already active
  [1]
  $ virsh net-start nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-start
  error: command 'net-start' requires <network> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-destroy hw
  error: Failed to destroy network hw
  error: operation forbidden: NETWORK_DESTROY is not for read-only connections
  [1]
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-destroy hw
  error: Failed to destroy network hw
  error: Requested operation is not valid: network 'hw' is not active
  [1]
  $ virsh net-destroy nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh net-start --network 11111111-1111-4111-8111-111111111111
  Network 11111111-1111-4111-8111-111111111111 started
  $ virsh net-destroy --network 11111111-1111-4111-8111-111111111111
  Network 11111111-1111-4111-8111-111111111111 destroyed

One that wants a card that is not there can be defined; to start, it must be there.

  $ sed 's/hw</gone</; /<uuid>/d; s/ens1f0/ens9f9/' hw.xml > gone.xml
  $ virsh net-define gone.xml
  Network gone defined from gone.xml
  $ virsh net-start gone
  error: Failed to start network gone
  error: internal error: network 'gone': there is no SR-IOV PF 'ens9f9' (vfnet pf ls lists the PFs of this host)
  [1]
  $ virsh net-undefine gone
  Network gone has been undefined

For as long as it runs
----------------------

  $ virsh net-create hw.xml
  Network hw created from hw.xml
  $ virsh net-undefine hw
  Network hw has been undefined
  $ virsh net-info hw
  Name:           hw
  UUID:           11111111-1111-4111-8111-111111111111
  Active:         yes
  Persistent:     no
  Autostart:      no
  $ virsh net-autostart hw
  error: failed to mark network hw as autostarted
  error: Requested operation is not valid: cannot set autostart for transient network
  [1]
  $ virsh net-create hw.xml
  error: Failed to create network from hw.xml
  error: Requested operation is not valid: network is already active as 'hw'
  [1]
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-info hw
  error: failed to get network 'hw'
  error: Network not found: no network with matching name 'hw'
  [1]
  $ virsh net-create hw.xml
  Network hw created from hw.xml
  $ virsh net-info hw
  Name:           hw
  UUID:           11111111-1111-4111-8111-111111111111
  Active:         yes
  Persistent:     no
  Autostart:      no
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-create --validate --file hw.xml
  Network hw created from hw.xml
  $ virsh net-define hw.xml
  Network hw defined from hw.xml
  $ virsh net-info hw
  Name:           hw
  UUID:           11111111-1111-4111-8111-111111111111
  Active:         yes
  Persistent:     yes
  Autostart:      no
  $ virsh net-destroy hw
  Network hw destroyed
  $ virsh net-create nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh net-create broken.xml
  error: Failed to create network from broken.xml
  error: XML error: not well-formed XML: the root node was opened but never closed
  [1]
  $ virsh net-create --validate nonsense.xml
  error: Failed to create network from nonsense.xml
  error: unsupported configuration: element <nonsense> (at /network/forward/nonsense, line 5)
  [1]
  $ virsh net-create
  error: command 'net-create' requires <file> option
  [1]
  $ virsh -c "$READ_ONLY_URI" net-create hw.xml
  error: Failed to create network from hw.xml
  error: operation forbidden: NETWORK_CREATE_XML is not for read-only connections
  [1]

At boot
-------

  $ virsh net-autostart hw
  Network hw marked as autostarted
  $ virsh net-info hw
  Name:           hw
  UUID:           11111111-1111-4111-8111-111111111111
  Active:         no
  Persistent:     yes
  Autostart:      yes
  $ virsh net-autostart hw
  Network hw marked as autostarted
  $ virsh net-autostart --network hw --disable
  Network hw unmarked as autostarted
  $ virsh net-list --all --autostart
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh net-autostart hw --disable
  Network hw unmarked as autostarted
  $ virsh net-autostart nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh -c "$READ_ONLY_URI" net-autostart hw
  error: failed to mark network hw as autostarted
  error: operation forbidden: NETWORK_SET_AUTOSTART is not for read-only connections
  [1]

Gone
----

  $ virsh net-undefine nowhere
  error: failed to get network 'nowhere'
  error: Network not found: no network with matching name 'nowhere'
  [1]
  $ virsh -c "$READ_ONLY_URI" net-undefine hw
  error: Failed to undefine network hw
  error: operation forbidden: NETWORK_UNDEFINE is not for read-only connections
  [1]
  $ virsh net-undefine --network hw
  Network hw has been undefined
  $ virsh net-undefine hw
  error: failed to get network 'hw'
  error: Network not found: no network with matching name 'hw'
  [1]
  $ virsh net-list --all
   Name   State   Autostart   Persistent
  ----------------------------------------
