Guests: lists, and how they are found
=====================================

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <uuid>11111111-1111-4111-8111-111111111111</uuid>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-define hw.xml && virsh net-start hw
  Network hw defined from hw.xml
  Network hw started
  $ guest() {
  >   cat > $1.xml <<END
  > <domain type='qemu'>
  >   <name>$1</name>
  >   <uuid>$2</uuid>
  >   <memory unit='KiB'>65536</memory>
  >   <vcpu>2</vcpu>
  >   <os><type machine='q35'>hvm</type></os>
  >   <devices>
  >     $3
  >   </devices>
  > </domain>
  > END
  > }
  $ nic="<interface type='network'><source network='hw'/><mac address='52:54:00:00:00:01'/></interface>"
  $ guest web1 22222222-2222-4222-8222-222222222222 "$nic"
  $ guest web2 33333333-3333-4333-8333-333333333333 ""
  $ guest web3 44444444-4444-4444-8444-444444444444 ""
  $ virsh list --all
   Id   Name   State
  --------------------
  $ for name in web1 web2; do virsh define $name.xml; done
  Domain 'web1' defined from web1.xml
  Domain 'web2' defined from web2.xml
  $ virsh create web3.xml
  Domain 'web3' created from web3.xml
  $ virsh start web1
  Domain 'web1' started
  $ virsh list
   Id   Name   State
  ----------------------
   1    web3   running
   2    web1   running
  $ virsh list --inactive
   Id   Name   State
  -----------------------
   -    web2   shut off
  $ virsh list --all
   Id   Name   State
  -----------------------
   1    web3   running
   2    web1   running
   -    web2   shut off
  $ virsh list --all --persistent
   Id   Name   State
  -----------------------
   2    web1   running
   -    web2   shut off
  $ virsh list --all --transient
   Id   Name   State
  ----------------------
   1    web3   running
  $ virsh suspend web1
  Domain 'web1' suspended
  $ virsh list --state-running
   Id   Name   State
  ----------------------
   1    web3   running
  $ virsh list --state-paused
   Id   Name   State
  ---------------------
   2    web1   paused
  $ virsh list --state-shutoff
   Id   Name   State
  -----------------------
   -    web2   shut off
  $ virsh list --all --state-other
   Id   Name   State
  --------------------
  $ virsh autostart web2
  Domain 'web2' marked as autostarted
  $ virsh list --all --autostart
   Id   Name   State
  -----------------------
   -    web2   shut off
  $ virsh list --all --no-autostart
   Id   Name   State
  ----------------------
   1    web3   running
   2    web1   paused
  $ virsh list --all --with-snapshot
   Id   Name   State
  --------------------
  $ virsh list --all --without-snapshot --name
  web3
  web1
  web2
  $ virsh list --all --with-checkpoint
   Id   Name   State
  --------------------
  $ virsh list --all --without-checkpoint --name
  web3
  web1
  web2
  $ virsh list --all --with-managed-save
   Id   Name   State
  --------------------
  $ virsh list --all --without-managed-save --name
  web3
  web1
  web2
  $ virsh list --all --managed-save
   Id   Name   State
  -----------------------
   1    web3   running
   2    web1   paused
   -    web2   shut off
  $ virsh list --all --uuid
  44444444-4444-4444-8444-444444444444
  22222222-2222-4222-8222-222222222222
  33333333-3333-4333-8333-333333333333
  $ virsh list --id
  1
  2
  $ virsh list --all --name --uuid
  44444444-4444-4444-8444-444444444444 web3
  22222222-2222-4222-8222-222222222222 web1
  33333333-3333-4333-8333-333333333333 web2
  $ virsh list --all --table
   Id   Name   State
  -----------------------
   1    web3   running
   2    web1   paused
   -    web2   shut off
  $ virsh desc web2 --title Database
  Domain title updated successfully
  $ virsh list --all --title
   Id   Name   State      Title
  ----------------------------------
   1    web3   running
   2    web1   paused
   -    web2   shut off   Database

One guest
---------

  $ virsh domid web1
  2
  $ virsh domid web2
  -
  $ virsh domid web9
  error: failed to get domain 'web9'
  [1]
  $ virsh domuuid web1
  22222222-2222-4222-8222-222222222222
  $ virsh domuuid web9
  error: failed to get domain 'web9'
  [1]
  $ virsh domname 22222222-2222-4222-8222-222222222222
  web1
  $ virsh domname 99999999-9999-4999-8999-999999999999
  error: failed to get domain '99999999-9999-4999-8999-999999999999'
  [1]
  $ virsh dominfo web2
  Id:             -
  Name:           web2
  UUID:           33333333-3333-4333-8333-333333333333
  OS Type:        hvm
  State:          shut off
  CPU(s):         2
  Max memory:     65536 KiB
  Used memory:    65536 KiB
  Persistent:     yes
  Autostart:      enable
  Managed save:   no
  $ virsh dominfo web1 | grep -v 'CPU time'
  Id:             2
  Name:           web1
  UUID:           22222222-2222-4222-8222-222222222222
  OS Type:        hvm
  State:          paused
  CPU(s):         2
  Max memory:     65536 KiB
  Used memory:    65536 KiB
  Persistent:     yes
  Autostart:      disable
  Managed save:   no
  $ virsh dominfo web9
  error: failed to get domain 'web9'
  [1]
  $ virsh domstate web1
  paused
  $ virsh domstate web1 --reason
  paused (user)
  $ virsh domstate web2 --reason
  shut off (unknown)
  $ virsh domstate web9
  error: failed to get domain 'web9'
  [1]
  $ virsh domiflist web1
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           hostdev   -        rtl8139   52:54:00:00:00:01
  $ virsh domiflist web1 --inactive
   Interface   Type      Source   Model     MAC
  -------------------------------------------------------------
   -           network   hw       rtl8139   52:54:00:00:00:01
  $ virsh domiflist web9
  error: failed to get domain 'web9'
  [1]
  $ virsh autostart web2 --disable
  Domain 'web2' unmarked as autostarted
  $ virsh autostart web3
  error: Failed to mark domain 'web3' as autostarted
  error: Requested operation is not valid: cannot set autostart for transient guest
  [1]
  $ virsh autostart web9
  error: failed to get domain 'web9'
  [1]
  $ virsh autostart web2 --once
  error: Failed to mark domain 'web2' as autostarted on next boot
  error: this function is not supported by the connection driver: DOMAIN_SET_AUTOSTART_ONCE
  [1]
  $ virsh -c "$READ_ONLY_URI" autostart web2
  error: Failed to mark domain 'web2' as autostarted
  error: operation forbidden: DOMAIN_SET_AUTOSTART is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" list --all --name
  web3
  web1
  web2
