Guests: documents, and changes of them in parts
===============================================

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
  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh dumpxml web1
  <domain type='qemu'>
    <name>web1</name>
    <uuid>22222222-2222-4222-8222-222222222222</uuid>
    <memory unit='KiB'>65536</memory>
    <currentMemory unit='KiB'>65536</currentMemory>
    <vcpu placement='static'>2</vcpu>
    <os>
      <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
      <boot dev='hd'/>
    </os>
    <clock offset='utc'/>
    <on_poweroff>destroy</on_poweroff>
    <on_reboot>restart</on_reboot>
    <on_crash>destroy</on_crash>
    <devices>
      <emulator>DIR/machine.qemu</emulator>
      <interface type='network'>
        <mac address='52:54:00:00:00:01'/>
        <source network='hw'/>
        <model type='rtl8139'/>
      </interface>
      <input type='mouse' bus='ps2'/>
      <input type='keyboard' bus='ps2'/>
      <memballoon model='virtio'/>
    </devices>
  </domain>
  $ virsh dumpxml --domain web9
  error: failed to get domain 'web9'
  [1]
  $ virsh start web1
  Domain 'web1' started
  $ virsh dumpxml web1 --xpath "//interface"
  <interface type="hostdev" managed="yes">
    <mac address="52:54:00:00:00:01"/>
    <driver name="vfio"/>
    <source>
      <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
    </source>
    <model type="rtl8139"/>
    <alias name="hostdev0"/>
    <address type="pci" domain="0x0000" bus="0x01" slot="0x00" function="0x0"/>
  </interface>
  $ virsh dumpxml web1 --inactive --xpath "//interface"
  <interface type="network">
    <mac address="52:54:00:00:00:01"/>
    <source network="hw"/>
    <model type="rtl8139"/>
  </interface>
  $ virsh dumpxml web1 --migratable --xpath "//interface/source"
  <source network="hw"/>
  $ virsh dumpxml web1 --xpath "//mac | //source" --wrap
  <nodes>
    <mac address="52:54:00:00:00:01"/>
    <source>
      <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
    </source>
  </nodes>
  $ virsh dumpxml web1 --update-cpu --xpath "/domain/@id"
   id="1"
  $ virsh -c "$READ_ONLY_URI" dumpxml web1 --xpath "/domain/name"
  <name>web1</name>
  $ virsh -c "$READ_ONLY_URI" dumpxml web1 --migratable
  error: operation forbidden: DOMAIN_GET_XML_DESC is not for read-only connections
  [1]
  $ sed "s,<devices>,<devices><graphics type='vnc' port='5901' passwd='secret'/>," web2.xml > vnc.xml
  $ virsh define vnc.xml
  Domain 'web2' defined from vnc.xml
  $ virsh dumpxml web2 --xpath "//graphics/@passwd"
  $ virsh dumpxml web2 --security-info --xpath "//graphics/@passwd"
   passwd="secret"
  $ virsh -c "$READ_ONLY_URI" dumpxml web2 --security-info
  error: operation forbidden: DOMAIN_GET_XML_DESC is not for read-only connections
  [1]
  $ virsh vncdisplay web2
  error: Domain is not running
  [1]
  $ virsh domdisplay web2
  error: Domain is not running
  [1]
  $ virsh start web2
  Domain 'web2' started
  $ virsh vncdisplay --domain web2
  127.0.0.1:1
  $ virsh domdisplay --domain web2
  vnc://127.0.0.1:1
  $ virsh domdisplay web2 --include-password
  vnc://:secret@127.0.0.1:1
  $ virsh domdisplay web2 --type vnc
  vnc://127.0.0.1:1
  $ virsh domdisplay web2 --all
  vnc://127.0.0.1:1
  $ virsh domdisplay web2 --type spice
  error: No graphical display with type 'spice' found
  [1]
  $ virsh vncdisplay web1
  error: Failed to get VNC port. Is this domain using VNC?
  [1]
  $ virsh destroy web2
  Domain 'web2' destroyed

Disks
-----

  $ truncate -s 1M disk.img
  $ disk="<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${DIR%/}/disk.img'/><target dev='vda' bus='virtio'/></disk>"
  $ guest web2 33333333-3333-4333-8333-333333333333 "$disk"
  $ virsh define web2.xml
  Domain 'web2' defined from web2.xml
  $ virsh domblklist web2
   Target   Source
  ------------------------------------
   vda      DIR/disk.img
  $ virsh domblklist --domain web2 --inactive --details
   Type   Device   Target   Source
  ----------------------------------------------------
   file   disk     vda      DIR/disk.img

Edited
------

  $ EDITOR="sed -i 's/65536/131072/'" virsh edit web2
  Domain 'web2' XML configuration edited.
  $ virsh dumpxml web2 --xpath /domain/memory
  <memory unit="KiB">131072</memory>
  $ EDITOR=true virsh edit --domain web2
  Domain 'web2' XML configuration not changed.
  $ EDITOR="sed -i 's/q35/i386/'" answer n edit web2
  error: unsupported configuration: machine='pc-i386-10.0' of <type> (served: pc, q35 and versions) (at /domain/os/type/@machine, line 8)
  Failed. Try again? [y,n,i,f,?]:
  [1]
  $ EDITOR="sed -i 's/131072/65536/'" virsh edit web2 --skip-validate
  Domain 'web2' XML configuration edited.
  $ virsh edit web9
  error: failed to get domain 'web9'
  [1]
  $ EDITOR="sed -i 's/65536/131072/'" virsh -c "$READ_ONLY_URI" edit web2
  error: operation forbidden: DOMAIN_GET_XML_DESC is not for read-only connections
  [1]

Titles, descriptions and other people's metadata
------------------------------------------------

  $ virsh desc web1
  No description for domain: web1
  $ virsh desc web1 --title
  No title for domain: web1
  $ virsh desc web1 Rack 4
  Domain description updated successfully
  $ virsh desc web1
  Rack 4
  $ virsh desc web1 --config
  No description for domain: web1
  $ virsh desc web1 --config --new-desc 'From the next start'
  Domain description updated successfully
  $ virsh desc web1 --config
  From the next start
  $ virsh desc web1 --live
  Rack 4
  $ virsh desc web1 --live --config --title Both
  Domain title updated successfully
  $ virsh desc web1 --title
  Both
  $ virsh desc web1 --title --config
  Both
  $ virsh dumpxml web1 --xpath "/domain/title"
  <title>Both</title>
  $ virsh dumpxml web1 --inactive --xpath "/domain/title | /domain/description"
  <title>Both</title>
  <description>From the next start</description>
  $ virsh desc web2 --live --new-desc 'not running'
  error: Failed to set new domain description
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh desc web2 --title --new-desc 'two
  > lines'
  error: Failed to set new domain title
  error: metadata title can't contain newlines
  [1]
  $ virsh desc web2 --current --new-desc 'Kept'
  Domain description updated successfully
  $ EDITOR="sed -i 's/Kept/Edited/'" virsh desc web2 --edit
  Domain description updated successfully
  $ virsh desc --domain web2
  Edited
  $ virsh -c "$READ_ONLY_URI" desc web2 --new-desc 'by whom?'
  error: Failed to set new domain description
  error: operation forbidden: DOMAIN_SET_METADATA is not for read-only connections
  [1]
  $ virsh desc web9
  error: failed to get domain 'web9'
  [1]
  $ virsh metadata web1 http://app.example/
  $ virsh metadata web1 http://app.example/ --key app --set '<owner>me</owner>'
  Metadata modified
  $ virsh metadata web1 http://app.example/
  <owner>me</owner>
  $ virsh metadata web1 http://app.example/ --config
  $ virsh metadata web1 http://app.example/ --config --key app --set '<owner>you</owner>'
  Metadata modified
  $ virsh metadata web1 http://app.example/ --config
  <owner>you</owner>
  $ virsh metadata web1 http://app.example/ --live
  <owner>me</owner>
  $ virsh metadata web1 http://app.example/ --current
  <owner>me</owner>
  $ virsh metadata web1 http://app.example/ --live --remove
  Metadata removed
  $ virsh metadata web1 http://app.example/ --live
  $ virsh metadata web1 http://app.example/ --key 1x --set '<owner/>'
  error: invalid argument: the key of a metadata element is a name of letters, digits, '-', '_', '.', at most 64 long
  [1]
  $ virsh metadata web1 http://app.example/ --key app --set '<owner'
  error: XML error: not well-formed XML: the document does not have a root node
  [1]
  $ EDITOR="sed -i 's/you/them/'" virsh metadata --domain web1 --uri http://app.example/ --config --key app --edit
  Metadata modified
  $ virsh metadata web1 http://app.example/ --config
  <owner>them</owner>
  $ virsh -c "$READ_ONLY_URI" metadata web1 http://app.example/ --remove
  error: operation forbidden: DOMAIN_SET_METADATA is not for read-only connections
  [1]

Memory and virtual CPUs
-----------------------

  $ virsh setmem web1 32M --config
  $ virsh dumpxml web1 --inactive --xpath "/domain/currentMemory"
  <currentMemory unit="KiB">32768</currentMemory>
  $ virsh setmem web1 128M --config
  error: invalid argument: 131072 KiB of memory are more than the guest's most, 65536 KiB
  [1]
  $ virsh setmem web1 0 --config
  error: memory in virDomainSetMemoryFlags must not be zero
  [1]
  $ virsh setmem web1 48M --live
  $ virsh dominfo web1 | grep memory
  Max memory:     65536 KiB
  Used memory:    49152 KiB
  $ virsh setmem --domain web1 --size 40M --current
  $ virsh setmem web1 44M
  $ virsh dominfo web1 | grep memory
  Max memory:     65536 KiB
  Used memory:    45056 KiB
  $ virsh setmem web2 32M --live
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh setmem web9 32M
  error: failed to get domain 'web9'
  [1]
  $ virsh -c "$READ_ONLY_URI" setmem web1 32M
  error: operation forbidden: DOMAIN_SET_MEMORY_FLAGS is not for read-only connections
  [1]
  $ virsh setmaxmem web1 16M --config
  $ virsh dumpxml web1 --inactive --xpath "/domain/memory | /domain/currentMemory"
  <memory unit="KiB">16384</memory>
  <currentMemory unit="KiB">16384</currentMemory>
  $ virsh setmaxmem web1 128M --live
  error: Unable to change MaxMemorySize
  error: Requested operation is not valid: the most memory of a guest cannot be changed while it runs
  [1]
  $ virsh setmaxmem web1 128M
  error: Unable to change MaxMemorySize
  error: Requested operation is not valid: the most memory of a guest cannot be changed while it runs
  [1]
  $ virsh setmaxmem --domain web2 --size 128M --current
  $ virsh -c "$READ_ONLY_URI" setmaxmem web1 128M --config
  error: Unable to change MaxMemorySize
  error: operation forbidden: DOMAIN_SET_MEMORY_FLAGS is not for read-only connections
  [1]
  $ virsh vcpucount web1
  maximum      config         2
  maximum      live           2
  current      config         2
  current      live           2
  $ virsh vcpucount --domain web1 --maximum --config
  2
  $ virsh vcpucount web1 --active --live
  2
  $ virsh vcpucount web1 --maximum --current
  2
  $ virsh vcpucount web1 --guest
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh setvcpus web1 4 --maximum --config
  $ virsh vcpucount web1 --maximum --config
  4
  $ virsh setvcpus web1 8 --config
  error: invalid argument: 8 virtual CPUs are more than the guest's most, 4
  [1]
  $ virsh setvcpus web1 0 --config
  error: Can't set 0 processors for a VM
  [1]
  $ virsh setvcpus web1 4 --config
  $ virsh setvcpus web1 1 --config
  $ virsh dumpxml web1 --inactive --xpath "/domain/vcpu"
  <vcpu placement="static" current="1">4</vcpu>
  $ virsh vcpucount web1 --active --config
  1
  $ virsh setvcpus web1 4 --live
  error: invalid argument: 4 virtual CPUs are more than the guest's most, 2
  [1]
  $ virsh setvcpus web1 2
  $ virsh setvcpus --domain web1 --count 2 --current
  $ virsh setvcpus web1 4 --maximum --live
  error: Option --config is required by option --maximum
  [1]
  $ virsh setvcpus web1 1 --guest
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh setvcpus web1 2 --live --hotpluggable
  $ virsh -c "$READ_ONLY_URI" setvcpus web1 2 --config
  error: operation forbidden: DOMAIN_SET_VCPUS_FLAGS is not for read-only connections
  [1]
