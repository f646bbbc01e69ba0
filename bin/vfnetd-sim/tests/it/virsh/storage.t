Storage
=======

A pool is a directory that is there, and its volumes are the files in it.

  $ mkdir images isos
  $ truncate -s 1M images/raw.img
  $ printf 'QFI\373\000\000\000\003' > images/disk.qcow2
  $ printf '\000\000\000\000\100\000\000\000' | dd of=images/disk.qcow2 bs=1 seek=24 status=none
  $ mkfifo images/fifo
  $ numbers() { sed -e "s/'bytes'>[0-9]*</'bytes'>N</" -e '/<mode>/d; /<owner>/d; /<group>/d'; }

Pools
-----

  $ virsh pool-list
   Name   State   Autostart
  ---------------------------
  $ virsh pool-define-as images dir --target $DIR/images --print-xml
  <pool type='dir'>
    <name>images</name>
    <target>
      <path>DIR//images</path>
    </target>
  </pool>
  $ virsh pool-define-as images dir --target $DIR/images/
  Pool images defined
  $ virsh pool-uuid nowhere
  error: failed to get pool 'nowhere'
  error: Storage pool not found: no storage pool with matching name 'nowhere'
  [1]
  $ virsh pool-uuid images | grep -c -
  1
  $ virsh pool-list
   Name   State   Autostart
  ---------------------------
  $ virsh pool-list --inactive
   Name     State      Autostart
  --------------------------------
   images   inactive   no
  $ virsh pool-info images | grep -v UUID
  Name:           images
  State:          inactive
  Persistent:     yes
  Autostart:      no
  $ virsh pool-start images
  Pool images started
  $ virsh pool-start images
  error: Failed to start pool images
  error: Requested operation is not valid: storage pool 'images' is active
  [1]
  $ virsh pool-start --pool nowhere
  error: failed to get pool 'nowhere'
  error: Storage pool not found: no storage pool with matching name 'nowhere'
  [1]
  $ virsh pool-autostart images
  Pool images marked as autostarted
  $ virsh pool-autostart --pool images --disable
  Pool images unmarked as autostarted
  $ virsh pool-autostart images
  Pool images marked as autostarted
  $ cat > isos.xml << END
  > <pool type='dir'>
  >   <name>isos</name>
  >   <uuid>22222222-2222-4222-8222-222222222222</uuid>
  >   <target><path>$DIR/isos</path></target>
  > </pool>
  > END
  $ virsh pool-create isos.xml
  Pool isos created from isos.xml
  $ virsh pool-create --file isos.xml
  error: Failed to create pool from isos.xml
  error: Requested operation is not valid: storage pool 'isos' is active
  [1]
  $ virsh pool-autostart isos
  error: failed to mark pool isos as autostarted
  error: Requested operation is not valid: storage pool 'isos' is transient, it cannot have autostart
  [1]
  $ virsh pool-list --all
   Name     State    Autostart
  ------------------------------
   images   active   yes
   isos     active   no
  $ virsh pool-list --transient
   Name   State    Autostart
  ----------------------------
   isos   active   no
  $ virsh pool-list --persistent
   Name     State    Autostart
  ------------------------------
   images   active   yes
  $ virsh pool-list --autostart
   Name     State    Autostart
  ------------------------------
   images   active   yes
  $ virsh pool-list --no-autostart
   Name   State    Autostart
  ----------------------------
   isos   active   no
  $ virsh pool-list --type dir --name
  images
  isos
  $ virsh pool-list --type iscsi --name
  $ virsh pool-list --uuid | sort | tail -n 1 | grep -c -
  1
  $ virsh pool-list --details | sed 's/[0-9.]* [KMGT]iB/N/g; s/  */ /g; s/--*/-/'
   Name State Autostart Persistent Capacity Allocation Available
  -
   images running yes yes N N N
   isos running no no N N N
  $ virsh pool-name 22222222-2222-4222-8222-222222222222
  isos
  $ virsh pool-uuid --pool isos
  22222222-2222-4222-8222-222222222222
  $ virsh pool-name --pool 22222222-2222-4222-8222-222222222223
  error: failed to get pool '22222222-2222-4222-8222-222222222223'
  error: Storage pool not found: no storage pool with matching uuid '22222222-2222-4222-8222-222222222223'
  [1]
  $ virsh pool-dumpxml isos | numbers
  <pool type='dir'>
    <name>isos</name>
    <uuid>22222222-2222-4222-8222-222222222222</uuid>
    <capacity unit='bytes'>N</capacity>
    <allocation unit='bytes'>N</allocation>
    <available unit='bytes'>N</available>
    <source>
    </source>
    <target>
      <path>DIR/isos</path>
    </target>
  </pool>
  $ virsh pool-dumpxml --pool isos --inactive
  <pool type='dir'>
    <name>isos</name>
    <uuid>22222222-2222-4222-8222-222222222222</uuid>
    <capacity unit='bytes'>0</capacity>
    <allocation unit='bytes'>0</allocation>
    <available unit='bytes'>0</available>
    <source>
    </source>
    <target>
      <path>DIR/isos</path>
    </target>
  </pool>
  $ virsh pool-dumpxml isos --xpath //path
  <path>DIR/isos</path>
  $ virsh pool-dumpxml isos --xpath //path --wrap
  <nodes>
    <path>DIR/isos</path>
  </nodes>
  $ virsh pool-info --pool isos --bytes | grep -v -e Capacity -e Allocation -e Available
  Name:           isos
  UUID:           22222222-2222-4222-8222-222222222222
  State:          running
  Persistent:     no
  Autostart:      no
  $ virsh pool-refresh isos
  Pool isos refreshed
  $ virsh pool-refresh --pool nowhere
  error: failed to get pool 'nowhere'
  error: Storage pool not found: no storage pool with matching name 'nowhere'
  [1]

What would not be the directory that it says is refused.

  $ virsh pool-define isos.xml
  Pool isos defined from isos.xml
  $ virsh pool-define --file isos.xml --validate
  Pool isos defined from isos.xml
  $ virsh pool-list --persistent
   Name     State    Autostart
  ------------------------------
   images   active   yes
   isos     active   no
  $ sed 's/2222</2223</' isos.xml > other.xml
  $ virsh pool-define other.xml
  error: Failed to define pool from other.xml
  error: operation failed: storage pool 'isos' (22222222-2222-4222-8222-222222222222) has the same name
  [1]
  $ sed -i 's/>isos</>other</' other.xml
  $ virsh pool-define other.xml
  error: Failed to define pool from other.xml
  error: operation failed: storage pool 'isos' (22222222-2222-4222-8222-222222222222) has the same directory
  [1]
  $ sed -i 's/isos/images-not-there/' other.xml
  $ virsh pool-create other.xml
  error: Failed to create pool from other.xml
  error: cannot open directory 'DIR/images-not-there': No such file or directory (os error 2)
  [1]
  $ sed -i "s/'dir'/'logical'/" other.xml
  $ virsh pool-define other.xml
  error: Failed to define pool from other.xml
  error: unsupported configuration: a pool of type 'logical': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as other dir --target images
  error: Failed to create pool other
  error: XML error: 'images' is not the absolute path of a directory, without '..' and control characters (at /pool/target/path, line 4)
  [1]
  $ virsh pool-create-as other dir --target $DIR/images --build
  error: Failed to create pool other
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create-as --name other --type dir --target $DIR --build --overwrite
  error: Failed to create pool other
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create-as --name other --type dir --target $DIR --build --no-overwrite
  error: Failed to create pool other
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create --build other.xml
  error: Failed to create pool from other.xml
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create --build --overwrite other.xml
  error: Failed to create pool from other.xml
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create --build --no-overwrite other.xml
  error: Failed to create pool from other.xml
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-create-as other dir --target $DIR --print-xml
  <pool type='dir'>
    <name>other</name>
    <target>
      <path>DIR/</path>
    </target>
  </pool>
  $ virsh pool-create-as other dir --target $DIR
  Pool other created
  $ virsh pool-destroy other
  Pool other destroyed
  $ virsh pool-define-as --name other --type iscsi --source-host h --source-path p --source-dev d --source-name n --source-format f --auth-type chap --auth-username u --secret-usage s --adapter-name a --source-initiator i --target /dev
  error: Failed to define pool other
  error: unsupported configuration: a pool of type 'iscsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-define-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent p --secret-uuid 22222222-2222-4222-8222-222222222222 --target /dev
  error: Failed to define pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-define-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent-wwnn 3 --adapter-parent-wwpn 4 --target /dev
  error: Failed to define pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-define-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent-fabric-wwn 5 --target /dev
  error: Failed to define pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-define-as other netfs --source-host h --source-path /p --source-protocol-ver 4 --target /mnt
  error: Failed to define pool other
  error: unsupported configuration: a pool of type 'netfs': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as --name other --type iscsi --source-host h --source-path p --source-dev d --source-name n --source-format f --auth-type chap --auth-username u --secret-usage s --adapter-name a --source-initiator i --target /dev
  error: Failed to create pool other
  error: unsupported configuration: a pool of type 'iscsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent p --secret-uuid 22222222-2222-4222-8222-222222222222 --target /dev
  error: Failed to create pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent-wwnn 3 --adapter-parent-wwpn 4 --target /dev
  error: Failed to create pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as other scsi --adapter-wwnn 1 --adapter-wwpn 2 --adapter-parent-fabric-wwn 5 --target /dev
  error: Failed to create pool other
  error: unsupported configuration: a pool of type 'scsi': only directories ('dir') are served (at /pool, line 1)
  [1]
  $ virsh pool-create-as other netfs --source-host h --source-path /p --source-protocol-ver 4 --target /mnt
  error: Failed to create pool other
  error: unsupported configuration: a pool of type 'netfs': only directories ('dir') are served (at /pool, line 1)
  [1]

A pool is neither made nor deleted with its directory.

  $ virsh pool-start --build images
  error: Failed to start pool images
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-start images --build --overwrite
  error: Failed to start pool images
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-start images --build --no-overwrite
  error: Failed to start pool images
  error: argument unsupported: building a pool: its directory has to be there
  [1]
  $ virsh pool-delete isos
  error: Failed to delete pool isos
  error: this function is not supported by the connection driver: STORAGE_POOL_DELETE: a pool's directory is left alone
  [1]
  $ virsh pool-build isos
  error: Failed to build pool isos
  error: this function is not supported by the connection driver: STORAGE_POOL_BUILD: a pool is a directory that is there
  [1]
  $ virsh find-storage-pool-sources logical
  error: Failed to find any logical pool sources
  error: this function is not supported by the connection driver: CONNECT_FIND_STORAGE_POOL_SOURCES
  [1]
  $ virsh pool-event --event lifecycle --timeout 1
  error: this function is not supported by the connection driver: CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY
  [1]
  $ virsh pool-capabilities
  error: failed to get storage pool capabilities
  error: this function is not supported by the connection driver: CONNECT_GET_STORAGE_POOL_CAPABILITIES
  [1]

Volumes
-------

  $ virsh vol-list images
   Name         Path
  -------------------------------------------------
   disk.qcow2   DIR/images/disk.qcow2
   raw.img      DIR/images/raw.img
  $ virsh vol-list --pool images --details | sed 's/[0-9.]* KiB/N/g; s/  */ /g; s/--*/-/'
   Name Path Type Capacity Allocation
  -
   disk.qcow2 DIR/images/disk.qcow2 file 1.00 GiB N
   raw.img DIR/images/raw.img file 1.00 MiB 0.00 B
  $ virsh vol-list nowhere
  error: failed to get pool 'nowhere'
  error: Storage pool not found: no storage pool with matching name 'nowhere'
  [1]
  $ virsh vol-path disk.qcow2 images
  DIR/images/disk.qcow2
  $ virsh vol-path --vol fifo --pool images
  error: failed to get vol 'fifo'
  error: Storage volume not found: no storage vol with matching path 'fifo'
  [1]
  $ virsh vol-key disk.qcow2 images
  DIR/images/disk.qcow2
  $ virsh vol-key --vol raw.img --pool images
  DIR/images/raw.img
  $ virsh vol-name $DIR/images/raw.img
  raw.img
  $ virsh vol-name --vol $DIR/images/none.img
  error: failed to get vol 'DIR//images/none.img'
  error: Storage volume not found: no storage vol with matching name 'none.img' in 'DIR/images'
  [1]
  $ virsh vol-pool $DIR/images//raw.img
  images
  $ virsh vol-pool --vol $DIR/isos/raw.img
  error: failed to get vol 'DIR//isos/raw.img'
  error: Storage volume not found: no storage vol with matching name 'raw.img' in 'DIR/isos'
  [1]
  $ virsh vol-pool $DIR/isos.xml
  error: failed to get vol 'DIR//isos.xml'
  error: Storage volume not found: no storage vol with matching path 'DIR//isos.xml'
  [1]
  $ virsh vol-pool --uuid $DIR/images/raw.img | grep -c -
  1
  $ virsh vol-info raw.img images
  Name:           raw.img
  Type:           file
  Capacity:       1.00 MiB
  Allocation:     0.00 B
  $ virsh vol-info --vol disk.qcow2 --pool images --bytes | grep -v Allocation
  Name:           disk.qcow2
  Type:           file
  Capacity:       1073741824 bytes
  $ virsh vol-info disk.qcow2 images --bytes --physical
  Name:           disk.qcow2
  Type:           file
  Capacity:       1073741824 bytes
  Physical:       32 bytes
  $ virsh vol-dumpxml disk.qcow2 images | sed "s/allocation unit='bytes'>[0-9]*</allocation unit='bytes'>N</" | grep -v -e mode -e owner -e group
  <volume type='file'>
    <name>disk.qcow2</name>
    <key>DIR/images/disk.qcow2</key>
    <capacity unit='bytes'>1073741824</capacity>
    <allocation unit='bytes'>N</allocation>
    <physical unit='bytes'>32</physical>
    <target>
      <path>DIR/images/disk.qcow2</path>
      <format type='qcow2'/>
      <permissions>
      </permissions>
    </target>
  </volume>
  $ virsh vol-dumpxml --vol raw.img --pool images --xpath //format
  <format type="raw"/>
  $ virsh vol-dumpxml raw.img images --xpath //format --wrap
  <nodes>
    <format type="raw"/>
  </nodes>
  $ virsh vol-dumpxml ../isos.xml images
  error: failed to get vol '../isos.xml'
  error: Storage volume not found: no storage vol with matching path '../isos.xml'
  [1]
  $ virsh vol-create-as images new.img 1M
  error: Failed to create vol new.img
  error: this function is not supported by the connection driver: STORAGE_VOL_CREATE_XML: a volume is a file that is there, made with qemu-img
  [1]
  $ virsh vol-delete raw.img images
  error: Failed to delete vol raw.img
  error: this function is not supported by the connection driver: STORAGE_VOL_DELETE: a volume's file is left alone
  [1]
  $ ls images
  disk.qcow2
  fifo
  raw.img

To read, the read-only socket is enough.

  $ virsh -c "$READ_ONLY_URI" vol-list images
   Name         Path
  -------------------------------------------------
   disk.qcow2   DIR/images/disk.qcow2
   raw.img      DIR/images/raw.img
  $ virsh -c "$READ_ONLY_URI" pool-destroy images
  error: Failed to destroy pool images
  error: operation forbidden: STORAGE_POOL_DESTROY is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" pool-refresh images
  error: Failed to refresh pool images
  error: operation forbidden: STORAGE_POOL_REFRESH is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" pool-undefine images
  error: Failed to undefine pool images
  error: operation forbidden: STORAGE_POOL_UNDEFINE is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" pool-autostart images
  error: failed to mark pool images as autostarted
  error: operation forbidden: STORAGE_POOL_SET_AUTOSTART is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" pool-define isos.xml
  error: Failed to define pool from isos.xml
  error: operation forbidden: STORAGE_POOL_DEFINE_XML is not for read-only connections
  [1]
  $ virsh -c "$READ_ONLY_URI" pool-create isos.xml
  error: Failed to create pool from isos.xml
  error: operation forbidden: STORAGE_POOL_CREATE_XML is not for read-only connections
  [1]

The end of a pool
-----------------

  $ virsh pool-undefine images
  error: Failed to undefine pool images
  error: Requested operation is not valid: storage pool 'images' is active
  [1]
  $ virsh pool-destroy images
  Pool images destroyed
  $ virsh pool-destroy --pool images
  error: Failed to destroy pool images
  error: Requested operation is not valid: storage pool 'images' is not active
  [1]
  $ virsh vol-list images
  error: Failed to list volumes
  error: Requested operation is not valid: storage pool 'images' is not active
  [1]
  $ virsh vol-name $DIR/images/raw.img
  error: failed to get vol 'DIR//images/raw.img'
  error: Storage volume not found: no storage vol with matching path 'DIR//images/raw.img'
  [1]
  $ EDITOR="sed -i 's|/images<|/isos<|'" answer n pool-edit images | grep -v 'Failed. Try again'
  error: operation failed: storage pool 'isos' (22222222-2222-4222-8222-222222222222) has the same directory
  [1]
  $ EDITOR="sed -i 's|/images<|/elsewhere<|'" virsh pool-edit images
  Pool images XML configuration edited.
  $ virsh pool-start images
  error: Failed to start pool images
  error: cannot open directory 'DIR/elsewhere': No such file or directory (os error 2)
  [1]
  $ EDITOR=true virsh pool-edit --pool images
  Pool images XML configuration not changed.
  $ virsh pool-undefine --pool images
  Pool images has been undefined
  $ virsh pool-undefine nowhere
  error: failed to get pool 'nowhere'
  error: Storage pool not found: no storage pool with matching name 'nowhere'
  [1]
  $ virsh pool-destroy isos
  Pool isos destroyed
  $ virsh pool-list --all
   Name   State      Autostart
  ------------------------------
   isos   inactive   no
  $ virsh pool-undefine isos
  Pool isos has been undefined
  $ virsh pool-list --all
   Name   State   Autostart
  ---------------------------
  $ ls images
  disk.qcow2
  fifo
  raw.img
