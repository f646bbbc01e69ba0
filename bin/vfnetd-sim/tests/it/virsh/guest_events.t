Guests: what happens to them is told
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
  $ agent="<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
  $ truncate -s 1M disk.img
  $ disk="<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${DIR%/}/disk.img'/><target dev='vda' bus='virtio'/></disk>"
  $ guest fails-its-disk 55555555-5555-4555-8555-555555555555 "$disk"
  $ guest with-agent 66666666-6666-4666-8666-666666666666 "$agent"
  $ guest garbage-when-resumed 77777777-7777-4777-8777-777777777777 ""
  $ virsh event --list
  lifecycle
  reboot
  rtc-change
  watchdog
  io-error
  graphics
  io-error-reason
  control-error
  block-job
  disk-change
  tray-change
  pm-wakeup
  pm-suspend
  balloon-change
  pm-suspend-disk
  device-removed
  block-job-2
  tunable
  agent-lifecycle
  device-added
  migration-iteration
  job-completed
  device-removal-failed
  metadata-change
  block-threshold
  memory-failure
  memory-device-size-change
  nic-mac-change
  $ virsh event
  error: one of --list, --all, or --event <type> is required
  [1]
  $ virsh event --event nonsense
  error: unknown event type nonsense
  [1]
  $ virsh event --domain web9 --event lifecycle
  error: failed to get domain 'web9'
  [1]
  $ virsh event --event lifecycle --timeout 1
  event loop timed out
  events received: 0
  [1]
  $ virsh define web2.xml
  Domain 'web2' defined from web2.xml

A life
------

  $ probe() { virsh define web2.xml; }
  $ listen probe virsh event --event lifecycle --loop
  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh start web1
  Domain 'web1' started
  $ virsh suspend web1
  Domain 'web1' suspended
  $ virsh resume web1
  Domain 'web1' resumed
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ virsh start web1 --paused
  Domain 'web1' started
  $ virsh resume web1
  Domain 'web1' resumed
  $ virsh shutdown web1
  Domain 'web1' is being shutdown
  $ limit; until [ "$(virsh domstate web1)" = 'shut off' ]; do check "it is off" || break; done
  $ virsh define fails-its-disk.xml
  Domain 'fails-its-disk' defined from fails-its-disk.xml
  $ virsh start fails-its-disk
  Domain 'fails-its-disk' started
  $ limit; until [ "$(virsh domstate fails-its-disk --reason)" = 'paused (I/O error)' ]; do check "it stands still" || break; done
  $ virsh destroy fails-its-disk
  Domain 'fails-its-disk' destroyed
  $ virsh undefine web1
  Domain 'web1' has been undefined
  $ heard "web1': Undefined"
  event 'lifecycle' for domain 'web2': Defined Updated
  event 'lifecycle' for domain 'web1': Defined Added
  event 'lifecycle' for domain 'web1': Started Booted
  event 'lifecycle' for domain 'web1': Suspended Paused
  event 'lifecycle' for domain 'web1': Resumed Unpaused
  event 'lifecycle' for domain 'web1': Stopped Destroyed
  event 'lifecycle' for domain 'web1': Started Booted
  event 'lifecycle' for domain 'web1': Suspended Paused
  event 'lifecycle' for domain 'web1': Resumed Unpaused
  event 'lifecycle' for domain 'web1': Shutdown Finished after guest request
  event 'lifecycle' for domain 'web1': Stopped Shutdown
  event 'lifecycle' for domain 'fails-its-disk': Defined Added
  event 'lifecycle' for domain 'fails-its-disk': Started Booted
  event 'lifecycle' for domain 'fails-its-disk': Suspended I/O Error
  event 'lifecycle' for domain 'fails-its-disk': Stopped Destroyed
  event 'lifecycle' for domain 'web1': Undefined Removed
  event loop interrupted

All of it
---------

  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ listen probe virsh event --all --loop --timestamp
  $ virsh start web1
  Domain 'web1' started
  $ virsh desc web1 --config Rack
  Domain description updated successfully
  $ virsh desc web1 --live --title Web
  Domain title updated successfully
  $ virsh metadata web1 http://app.example/ --key app --set '<owner/>'
  Metadata modified
  $ virsh setmem web1 32M --live
  $ virsh reset web1
  Domain 'web1' was reset
  $ virsh reboot web1
  Domain 'web1' is being rebooted
  $ limit; until grep -c "reboot" heard | grep -q 2; do check "a reboot is heard" || break; done
  $ virsh start fails-its-disk
  Domain 'fails-its-disk' started
  $ limit; until grep -q enospc heard; do check "an I/O error is heard" || break; done
  $ virsh create with-agent.xml
  Domain 'with-agent' created from with-agent.xml
  $ limit; until grep -q agent-lifecycle heard; do check "an agent is heard of" || break; done
  $ virsh create garbage-when-resumed.xml --paused
  Domain 'garbage-when-resumed' created from garbage-when-resumed.xml
  $ virsh resume garbage-when-resumed > /dev/null 2>&1 || true
  $ limit; until grep -q "garbage-when-resumed': Resumed" heard; do check "a monitor that was lost is heard of again" || break; done
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ heard "web1': Stopped"
  WHEN: event 'lifecycle' for domain 'web2': Defined Updated
  WHEN: event 'lifecycle' for domain 'web1': Started Booted
  WHEN: event 'metadata-change' for domain 'web1': type description, uri <null>
  WHEN: event 'metadata-change' for domain 'web1': type title, uri <null>
  WHEN: event 'metadata-change' for domain 'web1': type element, uri http://app.example/
  WHEN: event 'balloon-change' for domain 'web1': 32768KiB
  WHEN: event 'reboot' for domain 'web1'
  WHEN: event 'reboot' for domain 'web1'
  WHEN: event 'lifecycle' for domain 'fails-its-disk': Started Booted
  WHEN: event 'io-error' for domain 'fails-its-disk': DIR/disk.img (virtio-disk0) pause
  WHEN: event 'io-error' for domain 'fails-its-disk': DIR/disk.img (virtio-disk0) pause due to enospc
  WHEN: event 'lifecycle' for domain 'fails-its-disk': Suspended I/O Error
  WHEN: event 'lifecycle' for domain 'with-agent': Started Booted
  WHEN: event 'agent-lifecycle' for domain 'with-agent': state: 'connected' reason: 'channel event'
  WHEN: event 'lifecycle' for domain 'garbage-when-resumed': Started Booted
  WHEN: event 'lifecycle' for domain 'garbage-when-resumed': Suspended Paused
  WHEN: event 'control-error' for domain 'garbage-when-resumed'
  WHEN: event 'lifecycle' for domain 'garbage-when-resumed': Resumed Unpaused
  WHEN: event 'lifecycle' for domain 'web1': Stopped Destroyed
  event loop interrupted

Of one guest
------------

  $ probe() { virsh desc web1 --config Rack; }
  $ listen probe virsh event --domain web1 --event metadata-change --loop
  $ virsh desc web2 --config Rack
  Domain description updated successfully
  $ virsh metadata web1 http://app.example/ --config --key app --set '<owner/>'
  Metadata modified
  $ heard "app.example"
  event 'metadata-change' for domain 'web1': type description, uri <null>
  event 'metadata-change' for domain 'web1': type element, uri http://app.example/
  event loop interrupted
