Guests: started, told, ended
============================

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
  $ until_is() { limit; until [ "$(virsh domstate $1 --reason)" = "$2" ]; do check "$1 is $2" || return; sleep 0.05; done; }

Defined and forgotten
---------------------

  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh define --file web1.xml --validate
  Domain 'web1' defined from web1.xml
  $ sed 's/<vcpu>2/<cpus>2/; s,2</vcpu>,2</cpus>,' web1.xml > odd.xml
  $ virsh define odd.xml
  error: Failed to define domain from odd.xml
  error: unsupported configuration: element <cpus> (at /domain/cpus, line 5)
  [1]
  $ virsh define odd.xml --validate
  error: Failed to define domain from odd.xml
  error: unsupported configuration: element <cpus> (at /domain/cpus, line 5)
  [1]
  $ sed 's/22222222-2/99999999-9/' web1.xml > other.xml
  $ virsh define other.xml
  error: Failed to define domain from other.xml
  error: operation failed: guest 'web1' already exists with uuid 22222222-2222-4222-8222-222222222222
  [1]
  $ virsh -c "$READ_ONLY_URI" define web1.xml
  error: Failed to define domain from web1.xml
  error: operation forbidden: DOMAIN_DEFINE_XML is not for read-only connections
  [1]
  $ virsh undefine web2
  error: failed to get domain 'web2'
  [1]
  $ virsh undefine web1 --managed-save --snapshots-metadata --checkpoints-metadata --tpm
  Domain 'web1' has been undefined
  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh undefine web1 --keep-tpm
  Domain 'web1' has been undefined
  $ touch vars.fd code.fd
  $ sed "s,</os>,<loader readonly='yes' type='pflash'>${DIR%/}/code.fd</loader><nvram>${DIR%/}/vars.fd</nvram></os>," web2.xml > uefi.xml
  $ virsh define uefi.xml
  Domain 'web2' defined from uefi.xml
  $ virsh undefine web2
  error: Failed to undefine domain 'web2'
  error: Requested operation is not valid: the guest has UEFI variables in DIR/vars.fd (say --nvram to delete them, or --keep-nvram)
  [1]
  $ virsh undefine --domain web2 --keep-nvram
  Domain 'web2' has been undefined
  $ ls vars.fd
  vars.fd
  $ virsh define uefi.xml
  Domain 'web2' defined from uefi.xml
  $ virsh undefine web2 --nvram
  Domain 'web2' has been undefined
  $ ls vars.fd
  ls: cannot access 'vars.fd': No such file or directory
  [2]
  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh undefine web1 --storage vda
  error: Volume 'vda' was not found in domain's definition.
  [1]
  $ virsh -c "$READ_ONLY_URI" undefine web1
  error: Failed to undefine domain 'web1'
  error: operation forbidden: DOMAIN_UNDEFINE_FLAGS is not for read-only connections
  [1]
  $ for option in --wipe-storage --delete-storage-volume-snapshots; do virsh undefine web1 --remove-all-storage $option; virsh -q define web1.xml; done
  Domain 'web1' has been undefined
  Domain 'web1' has been undefined
  $ virsh undefine web1 --remove-all-storage --wipe-storage --delete-storage-volume-snapshots
  Domain 'web1' has been undefined

Started
-------

  $ virsh define web1.xml
  Domain 'web1' defined from web1.xml
  $ virsh -c "$READ_ONLY_URI" start web1
  error: Failed to start domain 'web1'
  error: operation forbidden: DOMAIN_CREATE is not for read-only connections
  [1]
  $ virsh start web1
  Domain 'web1' started
  $ virsh start web1
  error: Domain is already active
  [1]
  $ virsh start web9
  error: failed to get domain 'web9'
  [1]
  $ virsh domstate web1 --reason
  running (booted)
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ virsh destroy web1
  error: Failed to destroy domain 'web1'
  error: Requested operation is not valid: guest 'web1' is not running
  [1]
  $ virsh start --domain web1 --paused
  Domain 'web1' started
  $ virsh domstate web1 --reason
  paused (user)
  $ virsh resume web1
  Domain 'web1' resumed
  $ virsh domstate web1 --reason
  running (unpaused)
  $ virsh destroy web1 --graceful
  Domain 'web1' destroyed
  $ virsh domstate web1 --reason
  shut off (destroyed)
  $ virsh destroy web1 --graceful
  error: Failed to destroy domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh start web1 --bypass-cache --force-boot
  Domain 'web1' started
  $ virsh destroy web1 --remove-logs
  Domain 'web1' destroyed
  $ printf pristine > vars.template
  $ printf firmware > code.fd
  $ sed "s,</os>,<loader readonly='yes' type='pflash'>${DIR%/}/code.fd</loader><nvram template='${DIR%/}/vars.template'>${DIR%/}/vars.fd</nvram></os>," web2.xml > uefi.xml
  $ printf written > vars.fd
  $ virsh create uefi.xml
  Domain 'web2' created from uefi.xml
  $ cat vars.fd
  written
  $ virsh create uefi.xml --reset-nvram
  error: Failed to create domain from uefi.xml
  error: Requested operation is not valid: guest 'web2' is already running
  [1]
  $ cat vars.fd
  written
  $ virsh destroy web2
  Domain 'web2' destroyed
  $ virsh create uefi.xml --reset-nvram
  Domain 'web2' created from uefi.xml
  $ cat vars.fd
  pristine
  $ virsh destroy web2
  Domain 'web2' destroyed
  $ printf written > vars.fd
  $ rm vars.template
  $ virsh create uefi.xml --reset-nvram
  error: Failed to create domain from uefi.xml
  error: operation failed: cannot start guest 'web2': cannot read DIR/vars.template, the template of DIR/vars.fd: No such file or directory (os error 2)
  [1]
  $ cat vars.fd
  written
  $ rm vars.fd code.fd uefi.xml
  $ virsh start web1 --reset-nvram
  Domain 'web1' started
  $ virsh destroy web1
  Domain 'web1' destroyed
  $ virsh start web1 --pass-fds 5
  error: Failed to start domain 'web1'
  error: argument unsupported: fd passing is not supported by this connection
  [1]
  $ virsh create web2.xml --paused
  Domain 'web2' created from web2.xml
  $ virsh domstate web2 --reason
  paused (user)
  $ virsh create web2.xml
  error: Failed to create domain from web2.xml
  error: Requested operation is not valid: guest 'web2' is already running
  [1]
  $ virsh destroy --domain web2
  Domain 'web2' destroyed
  $ virsh domstate web2
  error: failed to get domain 'web2'
  [1]
  $ virsh create --file web2.xml --validate
  Domain 'web2' created from web2.xml
  $ virsh destroy web2
  Domain 'web2' destroyed
  $ virsh create web2.xml --pass-fds 5
  error: Failed to create domain from web2.xml
  error: argument unsupported: fd passing is not supported by this connection
  [1]
  $ virsh create odd.xml
  error: Failed to create domain from odd.xml
  error: unsupported configuration: element <cpus> (at /domain/cpus, line 5)
  [1]
  $ virsh -c "$READ_ONLY_URI" create web2.xml
  error: Failed to create domain from web2.xml
  error: operation forbidden: DOMAIN_CREATE_XML is not for read-only connections
  [1]

A console goes with a start where there is a terminal.

  $ sed "s,<devices>,<devices><serial type='unix'><source mode='bind' path='${DIR%/}/tty'/></serial>," web2.xml > tty.xml
  $ typed() { : > screen; (limit; until grep -Eq 'stand-in console|error:' screen; do check 'a console is there' || break; sleep 0.05; done; printf '\035') | timeout 40 script -q -f -e -E never -c "$VIRSH -c '$URI' ${*@Q}" /dev/null | tee screen | tr -d '\r' | grep -v polkit; }
  $ typed create tty.xml --console
  Domain 'web2' created from tty.xml
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ virsh destroy web2
  Domain 'web2' destroyed
  $ virsh define tty.xml
  Domain 'web2' defined from tty.xml
  $ typed start web2 --console
  Domain 'web2' started
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ typed console web2
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ typed console web2 --devname serial0
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ typed console web2 --devname serial9
  error: invalid argument: the guest has no console serial9
  [1]
  $ typed console web2 --force
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ typed console web2 --safe
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ virsh suspend web2
  Domain 'web2' suspended
  $ typed console web2 --resume
  Connected to domain 'web2'
  Escape character is ^] (Ctrl + ])
  qemu-stand-in console
  $ virsh domstate web2 --reason
  running (unpaused)
  $ virsh destroy web2
  Domain 'web2' destroyed
  $ typed console --domain web2
  error: The domain is not running
  [1]
  $ virsh undefine web2
  Domain 'web2' has been undefined

A guest that ends with its client is one of one virsh.

  $ virsh "start web1 --autodestroy; domstate web1"
  Domain 'web1' started
  running
  $ until_is web1 'shut off (destroyed)'
  $ virsh "create web2.xml --autodestroy; list --name"
  Domain 'web2' created from web2.xml
  web2
  $ limit; while [ -n "$(virsh list --name)" ]; do check "no guest runs" || break; done
  $ virsh list --all --name
  web1

Told
----

  $ virsh suspend web1
  error: Failed to suspend domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh resume web1
  error: Failed to resume domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh start web1
  Domain 'web1' started
  $ virsh suspend web1
  Domain 'web1' suspended
  $ virsh domstate web1 --reason
  paused (user)
  $ virsh suspend web1
  Domain 'web1' suspended
  $ virsh resume web1
  Domain 'web1' resumed
  $ virsh domstate web1 --reason
  running (unpaused)
  $ virsh resume web1
  error: Failed to resume domain 'web1'
  error: Requested operation is not valid: the guest runs already
  [1]
  $ virsh reset web1
  Domain 'web1' was reset
  $ virsh reboot web1
  Domain 'web1' is being rebooted
  $ until_is web1 'running (unpaused)'
  $ virsh reboot web1 --mode acpi
  Domain 'web1' is being rebooted
  $ until_is web1 'running (unpaused)'
  $ virsh reboot web1 --mode agent
  error: Failed to reboot domain 'web1'
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh reboot web1 --mode initctl
  error: Failed to reboot domain 'web1'
  error: argument unsupported: a QEMU guest is told by its power button (acpi) or the agent in it
  [1]
  $ virsh reboot web1 --mode nonsense
  error: Unknown mode nonsense value, expecting 'acpi', 'agent', 'initctl', 'signal' or 'paravirt'
  [1]
  $ virsh shutdown web1 --mode agent
  error: Failed to shutdown domain 'web1'
  error: argument unsupported: the guest has no channel for an agent (org.qemu.guest_agent.0)
  [1]
  $ virsh shutdown web1 --mode signal
  error: Failed to shutdown domain 'web1'
  error: argument unsupported: a QEMU guest is told by its power button (acpi) or the agent in it
  [1]
  $ virsh shutdown web1 --mode acpi
  Domain 'web1' is being shutdown
  $ until_is web1 'shut off (shutdown)'
  $ virsh shutdown --domain web1
  error: Failed to shutdown domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh reboot --domain web1
  error: Failed to reboot domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh reset --domain web1
  error: Failed to reset domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh suspend --domain web1
  error: Failed to suspend domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh resume --domain web1
  error: Failed to resume domain 'web1'
  error: Requested operation is not valid: the guest is not running
  [1]
  $ for command in destroy shutdown reboot reset suspend resume; do virsh -c "$READ_ONLY_URI" $command web1 2>&1; done
  error: Failed to destroy domain 'web1'
  error: operation forbidden: DOMAIN_DESTROY is not for read-only connections
  error: Failed to shutdown domain 'web1'
  error: operation forbidden: DOMAIN_SHUTDOWN is not for read-only connections
  error: Failed to reboot domain 'web1'
  error: operation forbidden: DOMAIN_REBOOT is not for read-only connections
  error: Failed to reset domain 'web1'
  error: operation forbidden: DOMAIN_RESET is not for read-only connections
  error: Failed to suspend domain 'web1'
  error: operation forbidden: DOMAIN_SUSPEND is not for read-only connections
  error: Failed to resume domain 'web1'
  error: operation forbidden: DOMAIN_RESUME is not for read-only connections
  [1]

Saved guests there are none.

  $ again virsh save web1 file
  error: Failed to save domain 'web1' to file
  error: Requested operation is not valid: the guest is not running
  [1]
  $ virsh start web1
  Domain 'web1' started
  $ again virsh save --domain web1 --file file
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --bypass-cache
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --running
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --paused --verbose
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --xml web1.xml
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --parallel-channels 2
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh save web1 file --image-format raw
  error: Failed to save domain 'web1' to file
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh managedsave --domain web1
  error: Failed to save domain 'web1' state
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh managedsave web1 --bypass-cache --running
  error: Failed to save domain 'web1' state
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ again virsh managedsave web1 --paused --verbose
  error: Failed to save domain 'web1' state
  error: Operation not supported: cannot save a guest with devices of the host, whose state stays in them: 0000:01:10.0
  [1]
  $ virsh create web2.xml
  Domain 'web2' created from web2.xml
  $ again virsh managedsave web2
  error: Failed to save domain 'web2' state
  error: Operation not supported: vfnet does not save guests
  [1]
  $ virsh domstate web1
  running
