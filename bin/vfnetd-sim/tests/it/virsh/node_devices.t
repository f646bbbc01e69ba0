Node devices
============

What there is
-------------

  $ virsh nodedev-list
  computer
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61
  pci_0000_00_01_0
  pci_0000_01_00_0
  pci_0000_01_10_0
  pci_0000_01_10_2
  pci_0000_01_10_4
  pci_0000_01_10_6
  pci_0000_01_11_0
  pci_0000_01_11_2
  pci_0000_01_11_4
  $ virsh nodedev-list --tree
  computer
    |
    +- pci_0000_00_01_0
        |
        +- pci_0000_01_00_0
        |   |
        |   +- net_ens1f0_fa_93_a2_ee_fb_32
        |
        +- pci_0000_01_10_0
        |   |
        |   +- net_ens1f0v0_72_c1_86_90_ee_42
        |
        +- pci_0000_01_10_2
        |   |
        |   +- net_ens1f0v1_72_bb_54_d8_d1_01
        |
        +- pci_0000_01_10_4
        |   |
        |   +- net_ens1f0v2_c2_4d_0b_ff_90_15
        |
        +- pci_0000_01_10_6
        |   |
        |   +- net_ens1f0v3_e2_99_ec_6c_d7_36
        |
        +- pci_0000_01_11_0
        |   |
        |   +- net_ens1f0v4_86_e7_bb_0f_12_27
        |
        +- pci_0000_01_11_2
        |   |
        |   +- net_ens1f0v5_4a_17_18_de_35_7e
        |
        +- pci_0000_01_11_4
            |
            +- net_ens1f0v6_ca_43_5c_8e_74_61
  $ virsh nodedev-list --cap net
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61
  $ virsh nodedev-list --cap pci
  pci_0000_00_01_0
  pci_0000_01_00_0
  pci_0000_01_10_0
  pci_0000_01_10_2
  pci_0000_01_10_4
  pci_0000_01_10_6
  pci_0000_01_11_0
  pci_0000_01_11_2
  pci_0000_01_11_4
  $ virsh nodedev-list --cap pci,net | wc -l
  18
  $ virsh nodedev-list --cap system
  computer
  $ virsh nodedev-list --cap scsi
  $ virsh nodedev-list --cap vpd
  $ virsh nodedev-list --cap nonsense
  error: Invalid capability type
  [1]
  $ virsh nodedev-list --tree --cap net
  error: Option --tree is incompatible with --cap, --inactive, --persistent and --transient
  [1]
  $ virsh nodedev-list --inactive
  $ virsh nodedev-list --all | wc -l
  19
  $ virsh nodedev-list --persistent | sed -n 1,3p
  computer
  $ virsh nodedev-list --transient
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61
  pci_0000_00_01_0
  pci_0000_01_00_0
  pci_0000_01_10_0
  pci_0000_01_10_2
  pci_0000_01_10_4
  pci_0000_01_10_6
  pci_0000_01_11_0
  pci_0000_01_11_2
  pci_0000_01_11_4
  $ virsh nodedev-list --inactive --all
  error: Option --all is incompatible with --inactive
  [1]
  $ virsh nodedev-list --tree --inactive
  error: Option --tree is incompatible with --cap, --inactive, --persistent and --transient
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-list --cap net
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61
  $ virsh -c "$NODEDEV_URI" nodedev-list --cap net
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61

One of them
-----------

  $ virsh nodedev-dumpxml computer | grep -v -e '<uuid>' -e '<serial>' -e '<version>' -e '<vendor>' -e '<product>' -e '<release_date>'
  <device>
    <name>computer</name>
    <capability type='system'>
      <hardware>
      </hardware>
      <firmware>
      </firmware>
    </capability>
  </device>
  $ virsh nodedev-dumpxml pci_0000_01_00_0
  <device>
    <name>pci_0000_01_00_0</name>
    <path>/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0</path>
    <parent>pci_0000_00_01_0</parent>
    <driver>
      <name>igb</name>
    </driver>
    <capability type='pci'>
      <class>0x020000</class>
      <domain>0</domain>
      <bus>1</bus>
      <slot>0</slot>
      <function>0</function>
      <product id='0x10c9'>82576 Gigabit Network Connection</product>
      <vendor id='0x8086'>Intel Corporation</vendor>
      <capability type='virt_functions' maxCount='7'>
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x4'/>
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>
        <address domain='0x0000' bus='0x01' slot='0x11' function='0x0'/>
        <address domain='0x0000' bus='0x01' slot='0x11' function='0x2'/>
        <address domain='0x0000' bus='0x01' slot='0x11' function='0x4'/>
      </capability>
      <pci-express>
        <link validity='cap' port='0' speed='16' width='16'/>
        <link validity='sta' speed='16' width='16'/>
      </pci-express>
    </capability>
  </device>
  $ virsh nodedev-dumpxml --device pci_0000_01_10_0
  <device>
    <name>pci_0000_01_10_0</name>
    <path>/sys/devices/pci0000:00/0000:00:01.0/0000:01:10.0</path>
    <parent>pci_0000_00_01_0</parent>
    <driver>
      <name>igbvf</name>
    </driver>
    <capability type='pci'>
      <class>0x020000</class>
      <domain>0</domain>
      <bus>1</bus>
      <slot>16</slot>
      <function>0</function>
      <product id='0x10ca'>82576 Virtual Function</product>
      <vendor id='0x8086'>Intel Corporation</vendor>
      <capability type='phys_function'>
        <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
      </capability>
      <iommuGroup number='1'>
        <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
      </iommuGroup>
      <pci-express>
        <link validity='cap' port='0' speed='16' width='16'/>
        <link validity='sta' speed='16' width='16'/>
      </pci-express>
    </capability>
  </device>
  $ virsh nodedev-dumpxml computer --inactive --xpath '/device/name'
  <name>computer</name>
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --inactive
  error: Requested operation is not valid: node device 'pci_0000_01_10_0' is not persistent
  [1]
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//capability[@type="phys_function"]'
  <capability type="phys_function">
    <address domain="0x0000" bus="0x01" slot="0x00" function="0x0"/>
  </capability>
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//slot|//function' --wrap
  <nodes>
    <slot>16</slot>
    <function>0</function>
  </nodes>
  $ device=$(virsh nodedev-list --cap net | grep '^net_ens1f0_')
  $ virsh nodedev-dumpxml $device
  <device>
    <name>net_ens1f0_fa_93_a2_ee_fb_32</name>
    <path>/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/ens1f0</path>
    <parent>pci_0000_01_00_0</parent>
    <capability type='net'>
      <interface>ens1f0</interface>
      <address>fa:93:a2:ee:fb:32</address>
      <link speed='1000' state='up'/>
      <feature name='rx'/>
      <feature name='tx'/>
      <feature name='sg'/>
      <feature name='gro'/>
      <capability type='80203'/>
    </capability>
  </device>
  $ virsh nodedev-dumpxml pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-dumpxml
  error: command 'nodedev-dumpxml' requires <device> option
  [1]
  $ virsh nodedev-info pci_0000_01_10_0
  Name:           pci_0000_01_10_0
  Parent:         pci_0000_00_01_0
  Active:         yes
  Persistent:     no
  Autostart:      no
  $ virsh nodedev-info --device computer
  Name:           computer
  Parent:
  Active:         yes
  Persistent:     yes
  Autostart:      yes
  $ virsh nodedev-info pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-info
  error: command 'nodedev-info' requires <device> option
  [1]

Detached, attached again, reset
-------------------------------

  $ virsh nodedev-detach pci_0000_01_10_0
  Device pci_0000_01_10_0 detached
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//driver/name'
  <name>vfio-pci</name>
  $ virsh nodedev-detach pci_0000_01_10_0
  Device pci_0000_01_10_0 detached
  $ virsh nodedev-reset pci_0000_01_10_0
  Device pci_0000_01_10_0 reset
  $ virsh nodedev-reattach pci_0000_01_10_0
  Device pci_0000_01_10_0 re-attached
  $ virsh nodedev-dumpxml pci_0000_01_10_0 --xpath '//driver/name'
  <name>igbvf</name>
  $ virsh nodedev-reattach --device pci_0000_01_10_0
  Device pci_0000_01_10_0 re-attached
  $ virsh nodedev-detach --device pci_0000_01_10_2 --driver vfio
  Device pci_0000_01_10_2 detached
  $ virsh nodedev-dumpxml pci_0000_01_10_2 --xpath '//driver/name'
  <name>vfio-pci</name>
  $ virsh nodedev-reattach pci_0000_01_10_2
  Device pci_0000_01_10_2 re-attached
  $ virsh nodedev-detach pci_0000_01_10_2 --driver kvm
  error: Failed to detach device pci_0000_01_10_2
  error: unsupported configuration: driver 'kvm': this host lends through VFIO only
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2 --driver xen
  error: Failed to detach device pci_0000_01_10_2
  error: unsupported configuration: driver 'xen': this host lends through VFIO only
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2 --driver nonsense
  error: Failed to detach device pci_0000_01_10_2
  error: operation failed: cannot load a VFIO driver for VF 0000:01:10.2: modprobe failed: FATAL: Module nonsense not found (has the running kernel such a driver? vfio-pci's option is CONFIG_VFIO_PCI)
  [1]
  $ virsh nodedev-detach pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-detach computer
  error: Failed to detach device computer
  error: invalid argument: device 'computer' is not a PCI device
  [1]
  $ virsh nodedev-detach
  error: command 'nodedev-detach' requires <device> option
  [1]
  $ virsh nodedev-reattach pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-reattach
  error: command 'nodedev-reattach' requires <device> option
  [1]
  $ virsh nodedev-reset --device pci_0000_01_10_4
  error: Failed to reset device pci_0000_01_10_4
  error: Requested operation is not valid: 0000:01:10.4 is not reset: the host drives it with igbvf (detach it first: virsh nodedev-detach)
  [1]
  $ virsh nodedev-reset pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-reset
  error: command 'nodedev-reset' requires <device> option
  [1]
  $ virsh nodedev-detach pci_0000_01_00_0
  error: Failed to detach device pci_0000_01_00_0
  error: unsupported configuration: PCI device 0000:01:00.0 is a PF, whose VFs are lent: vfnet detaches and resets VFs only
  [1]
  $ virsh nodedev-reset pci_0000_01_00_0
  error: Failed to reset device pci_0000_01_00_0
  error: unsupported configuration: PCI device 0000:01:00.0 is a PF, whose VFs are lent: vfnet detaches and resets VFs only
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-detach pci_0000_01_10_0
  error: Failed to detach device pci_0000_01_10_0
  error: operation forbidden: NODE_DEVICE_DETTACH is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-reattach pci_0000_01_10_0
  error: Failed to re-attach device pci_0000_01_10_0
  error: operation forbidden: NODE_DEVICE_RE_ATTACH is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" nodedev-reset pci_0000_01_10_0
  error: Failed to reset device pci_0000_01_10_0
  error: operation forbidden: NODE_DEVICE_RESET is not for read-only connections
  [1]

What somebody holds stays as it is
----------------------------------

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ cat > port.xml <<END
  > <networkport>
  >   <uuid>55555555-5555-4555-8555-555555555501</uuid>
  >   <owner>
  >     <name>far</name>
  >     <uuid>33333333-3333-4333-8333-333333333333</uuid>
  >   </owner>
  >   <mac address='52:54:00:00:00:01'/>
  > </networkport>
  > END
  $ cat > web1.xml <<END
  > <domain type='qemu'>
  >   <name>web1</name>
  >   <memory unit='MiB'>64</memory>
  >   <vcpu>1</vcpu>
  >   <os><type machine='q35'>hvm</type></os>
  >   <devices>
  >     <interface type='network'>
  >       <mac address='52:54:00:00:00:02'/>
  >       <source network='hw'/>
  >     </interface>
  >   </devices>
  > </domain>
  > END
  $ virsh net-create hw.xml
  Network hw created from hw.xml
  $ virsh net-port-create hw port.xml
  Network port 55555555-5555-4555-8555-555555555501 created from port.xml
  $ virsh create web1.xml
  Domain 'web1' created from web1.xml
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555501 --xpath '//plug/address'
  <address domain="0x0000" bus="0x01" slot="0x10" function="0x0"/>
  $ virsh dumpxml web1 --xpath '//source/address'
  <address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x2"/>
  $ virsh nodedev-detach pci_0000_01_10_0
  error: Failed to detach device pci_0000_01_10_0
  error: Requested operation is not valid: PCI device 0000:01:10.0 is in use: held by guest far of another daemon
  [1]
  $ virsh nodedev-detach pci_0000_01_10_0 --driver vfio
  error: Failed to detach device pci_0000_01_10_0
  error: Requested operation is not valid: PCI device 0000:01:10.0 is in use: held by guest far of another daemon
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_0
  error: Failed to re-attach device pci_0000_01_10_0
  error: Requested operation is not valid: PCI device 0000:01:10.0 is in use: held by guest far of another daemon
  [1]
  $ virsh nodedev-reset pci_0000_01_10_0
  error: Failed to reset device pci_0000_01_10_0
  error: Requested operation is not valid: PCI device 0000:01:10.0 is in use: held by guest far of another daemon
  [1]
  $ virsh nodedev-detach pci_0000_01_10_2
  error: Failed to detach device pci_0000_01_10_2
  error: Requested operation is not valid: PCI device 0000:01:10.2 is in use: held by guest web1
  [1]
  $ virsh nodedev-reattach pci_0000_01_10_2
  error: Failed to re-attach device pci_0000_01_10_2
  error: Requested operation is not valid: PCI device 0000:01:10.2 is in use: held by guest web1
  [1]
  $ virsh nodedev-reset pci_0000_01_10_2
  error: Failed to reset device pci_0000_01_10_2
  error: Requested operation is not valid: PCI device 0000:01:10.2 is in use: held by guest web1
  [1]

A VF that the administrator has detached can be lent all the same, and comes back as it was.

  $ virsh nodedev-detach pci_0000_01_10_4
  Device pci_0000_01_10_4 detached
  $ sed 's/01/03/' port.xml > third.xml; virsh net-port-create hw third.xml
  Network port 55555555-5555-4555-8555-555555555503 created from third.xml
  $ virsh net-port-dumpxml hw 55555555-5555-4555-8555-555555555503 --xpath '//plug/address'
  <address domain="0x0000" bus="0x01" slot="0x10" function="0x4"/>
  $ virsh nodedev-reattach pci_0000_01_10_4
  error: Failed to re-attach device pci_0000_01_10_4
  error: Requested operation is not valid: PCI device 0000:01:10.4 is in use: held by guest far of another daemon
  [1]
  $ virsh net-port-delete hw 55555555-5555-4555-8555-555555555503
  Network port 55555555-5555-4555-8555-555555555503 deleted
  $ virsh nodedev-dumpxml pci_0000_01_10_4 --xpath '//driver/name'
  <name>vfio-pci</name>
  $ virsh nodedev-reattach pci_0000_01_10_4
  Device pci_0000_01_10_4 re-attached
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ virsh nodedev-reset pci_0000_01_10_2
  error: Failed to reset device pci_0000_01_10_2
  error: Requested operation is not valid: 0000:01:10.2 is not reset: the host drives it with igbvf (detach it first: virsh nodedev-detach)
  [1]

Devices by definition
---------------------

Mediated devices are not vfnet's.

  $ cat > mdev.xml <<END
  > <device>
  >   <name>mine</name>
  >   <parent>pci_0000_01_00_0</parent>
  >   <capability type='mdev'>
  >     <type id='x'/>
  >   </capability>
  > </device>
  > END
  $ virsh nodedev-create mdev.xml
  error: Failed to create node device from mdev.xml
  error: this function is not supported by the connection driver: NODE_DEVICE_CREATE_XML
  [1]
  $ virsh nodedev-create --file mdev.xml --validate
  error: Failed to create node device from mdev.xml
  error: this function is not supported by the connection driver: NODE_DEVICE_CREATE_XML
  [1]
  $ virsh nodedev-define mdev.xml
  error: Failed to define node device from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_DEFINE_XML
  [1]
  $ virsh nodedev-define --file mdev.xml --validate
  error: Failed to define node device from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_DEFINE_XML
  [1]
  $ virsh nodedev-define nowhere.xml
  error: Failed to open file 'nowhere.xml': No such file or directory
  [1]
  $ virsh nodedev-create
  error: command 'nodedev-create' requires <file> option
  [1]
  $ virsh nodedev-destroy pci_0000_01_10_0
  error: Failed to destroy node device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_DESTROY
  [1]
  $ virsh nodedev-destroy --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-undefine pci_0000_01_10_0
  error: Failed to undefine node device 'pci_0000_01_10_0'
  error: this function is not supported by the connection driver: NODE_DEVICE_UNDEFINE
  [1]
  $ virsh nodedev-undefine --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-start pci_0000_01_10_0
  error: Failed to start device pci_0000_01_10_0
  error: this function is not supported by the connection driver: NODE_DEVICE_CREATE
  [1]
  $ virsh nodedev-start --device pci_0000_99_00_0
  error: Could not find matching device 'pci_0000_99_00_0'
  error: Node device not found: no node device with matching name 'pci_0000_99_00_0'
  [1]
  $ virsh nodedev-autostart pci_0000_01_10_0
  error: failed to mark device pci_0000_01_10_0 as autostarted
  error: this function is not supported by the connection driver: NODE_DEVICE_SET_AUTOSTART
  [1]
  $ virsh nodedev-autostart --device pci_0000_01_10_0 --disable
  error: failed to unmark device pci_0000_01_10_0 as autostarted
  error: this function is not supported by the connection driver: NODE_DEVICE_SET_AUTOSTART
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml
  error: Failed to update node device pci_0000_01_10_0 from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_UPDATE
  [1]
  $ virsh nodedev-update --device pci_0000_01_10_0 --file mdev.xml --live
  error: Failed to update node device pci_0000_01_10_0 from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_UPDATE
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml --config
  error: Failed to update node device pci_0000_01_10_0 from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_UPDATE
  [1]
  $ virsh nodedev-update pci_0000_01_10_0 mdev.xml --current
  error: Failed to update node device pci_0000_01_10_0 from 'mdev.xml'
  error: this function is not supported by the connection driver: NODE_DEVICE_UPDATE
  [1]
