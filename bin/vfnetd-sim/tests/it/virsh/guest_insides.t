Guests: what is in them, and what they have used
================================================

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
  $ guest with-agent 22222222-2222-4222-8222-222222222222 "$nic$agent"
  $ guest without 33333333-3333-4333-8333-333333333333 "$agent"
  $ guest web1 44444444-4444-4444-8444-444444444444 ""
  $ sed 's/hw</hw2</; s/1111/2222/; s/ens1f0/ens2f0/' hw.xml > hw2.xml
  $ virsh net-define hw2.xml && virsh net-start hw2
  Network hw2 defined from hw2.xml
  Network hw2 started
  $ guest counted 55555555-5555-4555-8555-555555555555 "<interface type='network'><source network='hw2'/><mac address='52:54:00:00:00:02'/></interface>"
  $ for name in counted with-agent without web1; do virsh define $name.xml && virsh start $name; done
  Domain 'counted' defined from counted.xml
  Domain 'counted' started
  Domain 'with-agent' defined from with-agent.xml
  Domain 'with-agent' started
  Domain 'without' defined from without.xml
  Domain 'without' started
  Domain 'web1' defined from web1.xml
  Domain 'web1' started

The agent
---------

  $ virsh qemu-agent-command with-agent '{"execute": "guest-ping"}'
  {"return":{}}
  $ virsh qemu-agent-command with-agent --pretty '{"execute": "guest-ping"}'
  {
    "return": {
    }
  }
  $ virsh qemu-agent-command --domain with-agent --timeout 5 --cmd '{"execute": "guest-ping"}'
  {"return":{}}
  $ virsh qemu-agent-command with-agent --block '{"execute": "guest-ping"}'
  {"return":{}}
  $ virsh qemu-agent-command with-agent --async '{"execute": "guest-ping"}'
  $ virsh vcpucount with-agent --guest
  3
  $ virsh setvcpus with-agent 4 --guest
  $ virsh vcpucount --domain with-agent --guest --live
  4
  $ virsh setvcpus with-agent 1 --guest
  $ virsh vcpucount with-agent --guest
  1
  $ virsh setvcpus with-agent 5 --guest
  error: invalid argument: the guest uses 1 of its 4 virtual CPUs, and cannot use 5
  [1]
  $ virsh setvcpus with-agent 0 --guest
  error: Can't set 0 processors for a VM
  [1]
  $ virsh setvcpus with-agent 2 --guest --config
  error: Options --guest and --config are mutually exclusive
  [1]
  $ virsh setvcpus with-agent 2 --guest --live
  $ virsh setvcpus without 2 --guest
  error: Guest agent is not responding: no agent runs in the guest
  [1]
  $ virsh setvcpus web1 2 --guest
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh -c "$READ_ONLY_URI" setvcpus with-agent 2 --guest
  error: operation forbidden: DOMAIN_SET_VCPUS_FLAGS is not for read-only connections
  [1]
  $ virsh qemu-agent-command with-agent '{"execute": "guest-nonsense"}'
  error: internal error: the agent refused: The command guest-nonsense has not been found (CommandNotFound)
  [1]
  $ virsh qemu-agent-command with-agent 'guest-ping'
  error: invalid argument: a command for the agent is a JSON object: expected value at line 1 column 1
  [1]
  $ virsh qemu-agent-command without '{"execute": "guest-ping"}'
  error: Guest agent is not responding: no agent runs in the guest
  [1]
  $ virsh qemu-agent-command web1 '{"execute": "guest-ping"}'
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh qemu-agent-command web9 '{"execute": "guest-ping"}'
  error: failed to get domain 'web9'
  [1]
  $ virsh -c "$READ_ONLY_URI" qemu-agent-command with-agent '{"execute": "guest-ping"}'
  error: operation forbidden: QEMU_DOMAIN_AGENT_COMMAND is not for read-only connections
  [1]
  $ virsh domifaddr with-agent --source agent
   Name       MAC address          Protocol     Address
  -------------------------------------------------------------------------------
   lo                              ipv4         127.0.0.1/8
   eth0       52:54:00:00:00:01    ipv4         192.0.2.7/24
   -          -                    ipv6         2001:db8::7/64
  $ virsh domifaddr with-agent --source agent --full
   Name       MAC address          Protocol     Address
  -------------------------------------------------------------------------------
   lo                              ipv4         127.0.0.1/8
   eth0       52:54:00:00:00:01    ipv4         192.0.2.7/24
   eth0       52:54:00:00:00:01    ipv6         2001:db8::7/64
  $ virsh domifaddr --domain with-agent --source agent --interface eth0
   Name       MAC address          Protocol     Address
  -------------------------------------------------------------------------------
   eth0       52:54:00:00:00:01    ipv4         192.0.2.7/24
   -          -                    ipv6         2001:db8::7/64
  $ virsh domifaddr without --source agent
  error: Failed to query for interfaces addresses
  error: Guest agent is not responding: no agent runs in the guest
  [1]
  $ virsh domifaddr with-agent
   Name       MAC address          Protocol     Address
  -------------------------------------------------------------------------------
  $ virsh domifaddr with-agent --source lease
   Name       MAC address          Protocol     Address
  -------------------------------------------------------------------------------
  $ virsh domifaddr with-agent --source arp
  error: Failed to query for interfaces addresses
  error: argument unsupported: addresses are told by the agent in the guest (--source agent): the host does not see what a VF sends
  [1]

The monitor
-----------

  $ virsh qemu-monitor-command web1 '{"execute": "query-status"}'
  {"return":{"running":true,"status":"running"}}
  $ virsh qemu-monitor-command web1 --pretty '{"execute": "query-status"}'
  {
    "return": {
      "running": true,
      "status": "running"
    }
  }
  $ virsh qemu-monitor-command web1 --return-value '{"execute": "query-status"}'
  {"running":true,"status":"running"}
  $ virsh qemu-monitor-command --domain web1 --hmp --cmd 'info status'
  VM status: running
  $ virsh qemu-monitor-command web1 --hmp nonsense
  unknown command: 'nonsense'
  $ virsh qemu-monitor-command web1 '{"execute": "nonsense"}'
  {"error":{"class":"CommandNotFound","desc":"The command nonsense has not been found"}}
  $ virsh qemu-monitor-command web1 'info status'
  {"error":{"class":"CommandNotFound","desc":"The command info status has not been found"}}
  $ virsh qemu-monitor-command web1 --pass-fds 5 '{"execute": "query-status"}'
  error: argument unsupported: fd passing is not supported by this connection
  [1]
  $ virsh qemu-monitor-command web9 '{"execute": "query-status"}'
  error: failed to get domain 'web9'
  [1]
  $ virsh -c "$READ_ONLY_URI" qemu-monitor-command web1 '{"execute": "query-status"}'
  error: operation forbidden: QEMU_DOMAIN_MONITOR_COMMAND is not for read-only connections
  [1]

What they have used
-------------------

  $ numbers() { sed -E 's/(time|user|system|rss)( ?=? ?)[0-9]+/\1\2N/'; }
  $ virsh domstats web1 | numbers
  Domain: 'web1'
    state.state=1
    state.reason=1
    cpu.time=N
    cpu.user=N
    cpu.system=N
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
    vcpu.current=2
    vcpu.maximum=2
    net.count=0
    block.count=0
  $ virsh domstats with-agent --state --cpu-total --balloon | numbers
  Domain: 'with-agent'
    state.state=1
    state.reason=1
    cpu.time=N
    cpu.user=N
    cpu.system=N
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
  $ virsh domstats with-agent --interface --vcpu --block
  Domain: 'with-agent'
    vcpu.current=2
    vcpu.maximum=2
    net.count=1
    net.0.name=52:54:00:00:00:01
    block.count=0
  $ virsh domstats --domain with-agent --raw --state
  Domain: 'with-agent'
    state.state=1
    state.reason=1
  $ virsh domstats --list-active --state
  Domain: 'with-agent'
    state.state=1
    state.reason=1
  Domain: 'without'
    state.state=1
    state.reason=1
  Domain: 'web1'
    state.state=1
    state.reason=1
  Domain: 'counted'
    state.state=1
    state.reason=1
  $ virsh domstats --list-inactive --state
  $ virsh domstats --list-persistent --balloon | numbers
  Domain: 'with-agent'
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
  Domain: 'without'
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
  Domain: 'web1'
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
  Domain: 'counted'
    balloon.current=65536
    balloon.maximum=65536
    balloon.rss=N
  $ virsh domstats --list-transient --state
  $ virsh domstats --list-running --state
  Domain: 'with-agent'
    state.state=1
    state.reason=1
  Domain: 'without'
    state.state=1
    state.reason=1
  Domain: 'web1'
    state.state=1
    state.reason=1
  Domain: 'counted'
    state.state=1
    state.reason=1
  $ virsh domstats --list-paused --list-shutoff --list-other --state
  $ virsh domstats web1 --perf
  Domain: 'web1'
  $ virsh domstats web1 --iothread --memory --dirtyrate --vm
  Domain: 'web1'
  $ virsh domstats web1 --perf --enforce
  error: argument unsupported: statistics 0x40 are not there
  [1]
  $ virsh domstats web1 --state --backing --nowait
  Domain: 'web1'
    state.state=1
    state.reason=1
  $ virsh domstats web9
  error: failed to get domain 'web9'
  [1]
  $ virsh dommemstat web1 | numbers
  actual 65536
  rss N
  $ virsh dommemstat --domain web1 --current | numbers
  actual 65536
  rss N
  $ virsh dommemstat web1 --period 5 --live
  error: Unable to change balloon collection period.
  error: this function is not supported by the connection driver: DOMAIN_SET_MEMORY_STATS_PERIOD
  [1]
  $ virsh dommemstat web1 --period 5 --config
  error: Unable to change balloon collection period.
  error: this function is not supported by the connection driver: DOMAIN_SET_MEMORY_STATS_PERIOD
  [1]
  $ virsh domifstat with-agent 52:54:00:00:00:01
  error: Failed to get interface stats with-agent 52:54:00:00:00:01
  error: Operation not supported: the driver of PF 0000:01:00.0 does not count what its VF 0000:01:10.0 receives and sends; the guest itself does (in it: ip -s link)
  [1]
  $ virsh domifstat counted 52:54:00:00:00:02
  52:54:00:00:00:02 rx_bytes 120
  52:54:00:00:00:02 rx_packets 2
  52:54:00:00:00:02 rx_drop 0
  52:54:00:00:00:02 tx_bytes 60
  52:54:00:00:00:02 tx_packets 1
  52:54:00:00:00:02 tx_drop 0
  $ virsh domstats counted --interface
  Domain: 'counted'
    net.count=1
    net.0.name=52:54:00:00:00:02
    net.0.rx.bytes=120
    net.0.rx.pkts=2
    net.0.rx.drop=0
    net.0.tx.bytes=60
    net.0.tx.pkts=1
    net.0.tx.drop=0
  $ virsh domifstat --domain with-agent --interface 52:54:00:00:00:99
  error: Failed to get interface stats with-agent 52:54:00:00:00:99
  error: invalid argument: the guest has no interface '52:54:00:00:00:99'
  [1]

They end by their agents, too.

  $ virsh reboot with-agent --mode agent
  Domain 'with-agent' is being rebooted
  $ virsh domstate with-agent --reason
  running (booted)
  $ virsh shutdown with-agent --mode agent
  Domain 'with-agent' is being shutdown
  $ limit; until [ "$(virsh domstate with-agent --reason)" = 'shut off (shutdown)' ]; do check "it is off" || break; done
  $ virsh qemu-agent-command with-agent '{"execute": "guest-ping"}'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh qemu-monitor-command with-agent '{"execute": "query-status"}'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh domifaddr with-agent --source agent
  error: Failed to query for interfaces addresses
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh dommemstat with-agent
  error: Failed to get memory statistics for domain with-agent
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh domifstat with-agent 52:54:00:00:00:01
  error: Failed to get interface stats with-agent 52:54:00:00:00:01
  error: Requested operation is not valid: the guest is not running
  [1]

What guests can be given
------------------------

  $ virsh domcapabilities --virttype qemu --xpath "/domainCapabilities/domain | /domainCapabilities/machine | /domainCapabilities/vcpu"
  <domain>qemu</domain>
  <machine>pc</machine>
  <vcpu max="255"/>
  $ virsh domcapabilities --virttype qemu --arch x86_64 --machine q35 --xpath "//hostdev" --wrap
  <nodes>
    <hostdev supported="yes">
      <enum name="mode">
        <value>subsystem</value>
      </enum>
      <enum name="startupPolicy">
        <value>mandatory</value>
      </enum>
      <enum name="subsysType">
        <value>pci</value>
      </enum>
      <enum name="capsType"/>
      <enum name="pciBackend">
        <value>vfio</value>
      </enum>
    </hostdev>
  </nodes>
  $ virsh domcapabilities --virttype qemu --xpath "//disk"
  <disk supported="yes">
    <enum name="diskDevice">
      <value>disk</value>
      <value>cdrom</value>
    </enum>
    <enum name="bus">
      <value>virtio</value>
      <value>ide</value>
      <value>sata</value>
      <value>scsi</value>
    </enum>
    <enum name="model">
      <value>virtio</value>
    </enum>
  </disk>
  $ virsh domcapabilities --machine s390-ccw
  error: failed to get emulator capabilities
  error: invalid argument: machines 's390-ccw' are not served, only pc and q35
  [1]
  $ virsh domcapabilities --arch riscv64
  error: failed to get emulator capabilities
  error: invalid argument: guests of architecture 'riscv64' are not served, only x86_64
  [1]
  $ virsh domcapabilities --virttype xen
  error: failed to get emulator capabilities
  error: invalid argument: guests of type 'xen' are not served
  [1]
  $ virsh domcapabilities --virttype qemu --emulatorbin /nonexistent
  error: failed to get emulator capabilities
  error: invalid argument: cannot start the emulator /nonexistent: No such file or directory (os error 2)
  [1]
  $ virsh domcapabilities --virttype qemu --disable-deprecated-features
  error: failed to get emulator capabilities
  error: invalid argument: flags 0x1 are not known
  [1]
