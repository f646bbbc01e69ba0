The connection and the host behind it
=====================================

  $ virsh uri | grep -o '^[^?]*'
  qemu+unix:///system
  $ virsh hostname | diff -B - <(uname -n)
  $ virsh version | sed 's/ [0-9.]*$/ N/'
  Compiled against library: libvirt N
  Using library: libvirt N
  Using API: QEMU N
  Running hypervisor: QEMU N
  $ virsh version --daemon | sed 's/ [0-9.]*$/ N/'
  Compiled against library: libvirt N
  Using library: libvirt N
  Using API: QEMU N
  Running hypervisor: QEMU N
  Running against daemon: N
  $ virsh nodeinfo | cut -d: -f1
  CPU model
  CPU(s)
  CPU socket(s)
  Core(s) per socket
  Thread(s) per core
  NUMA cell(s)
  Memory size
  $ virsh nodeinfo | grep '^CPU(s)' | grep -c " $(nproc)$"
  1
  $ virsh capabilities --xpath '/capabilities/guest/os_type'
  <os_type>hvm</os_type>
  $ virsh capabilities --xpath '/capabilities/guest/arch/domain' --wrap | sed -n 1,2p
  <nodes>
    <domain type="qemu"/>
  $ virsh capabilities | sed -n 1,2p
  <capabilities>
    <host>

Connections by other names
--------------------------

  $ virsh -c "$NETWORK_URI" net-list --all
   Name   State   Autostart   Persistent
  ----------------------------------------
  $ virsh -c "$NETWORK_URI" uri | grep -o '^[^?]*'
  network+unix:///system
  $ virsh -c "$NODEDEV_URI" uri | grep -o '^[^?]*'
  nodedev+unix:///system
  $ virsh -c "$NODEDEV_URI" nodedev-list --cap net
  net_ens1f0_fa_93_a2_ee_fb_32
  net_ens1f0v0_72_c1_86_90_ee_42
  net_ens1f0v1_72_bb_54_d8_d1_01
  net_ens1f0v2_c2_4d_0b_ff_90_15
  net_ens1f0v3_e2_99_ec_6c_d7_36
  net_ens1f0v4_86_e7_bb_0f_12_27
  net_ens1f0v5_4a_17_18_de_35_7e
  net_ens1f0v6_ca_43_5c_8e_74_61
  $ virsh -c "$NETWORK_URI" hostname | diff -B - <(uname -n)
  $ virsh -c "$NETWORK_URI" nodeinfo | cut -d: -f1 | sed -n 1,2p
  CPU model
  CPU(s)
  $ virsh -c "$NETWORK_URI" capabilities | sed -n 1,2p
  <capabilities>
    <host>
  $ virsh -c "$NETWORK_URI" version | cut -d: -f1
  Compiled against library
  Using library
  Using API
  Running hypervisor
  $ virsh -c "${URI/system/session}" net-list
  error: failed to connect to the hypervisor
  error: internal error: unexpected URI 'qemu:///session': this daemon serves qemu:///system, network:///system, nodedev:///system, vfnet:///system
  [1]
  $ virsh -c "${URI/system/nonsense}" net-list
  error: failed to connect to the hypervisor
  error: internal error: unexpected URI 'qemu:///nonsense': this daemon serves qemu:///system, network:///system, nodedev:///system, vfnet:///system
  [1]
  $ virsh -c "${URI/qemu/lxc}" net-list
  error: failed to connect to the hypervisor
  error: internal error: unexpected URI 'lxc:///system': this daemon serves qemu:///system, network:///system, nodedev:///system, vfnet:///system
  [1]
  $ virsh -c "qemu+unix:///system?socket=${DIR}nowhere" net-list
  error: failed to connect to the hypervisor
  error: Failed to connect socket to 'DIR/nowhere': No such file or directory
  [1]

Connecting once more
--------------------

  $ cat > hw.xml <<END
  > <network>
  >   <name>hw</name>
  >   <forward mode='hostdev' managed='yes'>
  >     <pf dev='ens1f0'/>
  >   </forward>
  > </network>
  > END
  $ virsh net-define hw.xml
  Network hw defined from hw.xml
  $ virsh "connect $NETWORK_URI; net-list --all; uri" | grep -o '^[^?]*'
   Name   State      Autostart   Persistent
  -------------------------------------------
   hw     inactive   no          yes
  network+unix:///system
  $ virsh "connect --name $READ_ONLY_URI --readonly; uri; net-start hw" | grep -o '^[^?]*'
  error: Failed to start network hw
  error: operation forbidden: read only access prevents virNetworkCreate
  qemu+unix:///system
  [1]
  $ virsh "connect $URI --readonly; net-list --all; net-start hw"
   Name   State      Autostart   Persistent
  -------------------------------------------
   hw     inactive   no          yes
  error: Failed to start network hw
  error: operation forbidden: read only access prevents virNetworkCreate
  [1]
  $ virsh -r net-start hw
  error: Failed to start network hw
  error: operation forbidden: read only access prevents virNetworkCreate
  [1]
  $ virsh -r -c "$READ_ONLY_URI" net-list --all
   Name   State      Autostart   Persistent
  -------------------------------------------
   hw     inactive   no          yes
  $ virsh "connect qemu+unix:///system?socket=${DIR}nowhere"
  error: failed to connect to the hypervisor
  error: Failed to connect socket to 'DIR/nowhere': No such file or directory
  [1]
  $ virsh connect "$URI" "$URI"
  error: unexpected data 'qemu+unix:///system?socket=DIR/run/libvirt-sock'
  [1]
  $ virsh uri --nonsense
  error: command 'uri' doesn't support option --nonsense
  [1]
