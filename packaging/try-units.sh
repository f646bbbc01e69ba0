#!/bin/bash
# Tries the units with systemd itself, in the emulated host and nowhere else:
#   cargo build && cargo xtask lab run packaging/try-units.sh
# or, as one of the scenarios: cargo xtask lab scenario guests-survive-a-restart-through-systemd
# A guest must live through restart, kill and stop of the service, in the unit's sandbox, and
# its VF must be afterwards what it was before. The sandbox must hold for the daemon, its guests
# and its hook scripts, and of the capabilities in it each must be missed when it is taken away.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
[ -e /run/vfnet-lab ] || { echo "this is not the emulated host" >&2; exit 1; }
programs=${PROGRAMS:-target/debug}

must() { echo "- $1"; shift; "$@" || { echo "FAILED: $*"; cat /run/vfnetd.log /run/systemd.log; exit 1; }; }
is() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

ip link set eth0 up
mount -t tmpfs none /run/vfnet 2>/dev/null || { mkdir -p /run/vfnet && mount -t tmpfs none /run/vfnet; }
install "$programs/vfnetd" /usr/sbin/
install "$programs/vfnet" /usr/bin/
units=/etc/systemd/system
cp packaging/systemd/* $units/
systemd-sysusers "$PWD"/packaging/sysusers.d/vfnet.conf
# This systemd starts nothing but vfnet, so what units depend on by default is not there.
printf '[Unit]\nDefaultDependencies=no\n' > $units/nothing.target
for unit in vfnetd.service vfnetd.socket vfnetd-ro.socket; do
    mkdir -p $units/$unit.d
    printf '[Unit]\nDefaultDependencies=no\n' > $units/$unit.d/alone.conf
done
printf '[Service]\nStandardOutput=append:/run/vfnetd.log\nStandardError=inherit\n' > $units/vfnetd.service.d/log.conf

# What a hook script tries, the unit must deny; outside of it all of this can be done.
mkdir -p /etc/vfnet /run/hooks
echo 'network_hooks = "/run/hooks"' > /etc/vfnet/vfnetd.toml
cat > /run/hooks/network <<'X'
#!/bin/bash
[ "$2" = started ] || exit 0
try() { local what=$1; shift; if "$@" > /dev/null 2>&1; then echo "$what: done"; else echo "$what: denied"; fi; }
suid() { touch /run/probe && chmod u+s /run/probe; }
kmsg() { : < /dev/kmsg; }
{
    try 'a file in /usr' touch /usr/probe
    try 'a file in /etc' touch /etc/probe
    try 'a directory among the cgroups' mkdir /sys/fs/cgroup/probe
    try 'a namespace of its own' unshare --net true
    try 'a program that runs as its owner' suid
    try 'a device node' mknod /run/probe-null c 1 3
    try 'a mount' mount -t tmpfs none /mnt
    try 'the clock' date -s now
    try "the kernel's log" kmsg
} > "${PROBED:-/run/probed}"
X
chmod 755 /run/hooks/network
PROBED=/run/probed.outside unshare --mount /run/hooks/network hw started begin -
rm -f /run/probe /run/probe-null /usr/probe /etc/probe
rmdir /sys/fs/cgroup/probe
must "without the unit everything can be done" is "$(grep -c 'denied$' /run/probed.outside)" 0

container=lab unshare --fork --pid --mount --mount-proc /lib/systemd/systemd --system \
    --unit=nothing.target --log-target=console > /run/systemd.log 2>&1 < /dev/null &
outer=$!
inside() { nsenter -t "$(tr -d ' ' < /proc/$outer/task/$outer/children)" -m -p env SYSTEMD_PAGER=cat "$@"; }
up() { inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded|starting'; }
within() { for _ in $(seq 120); do "$@" && return; sleep 1; done; return 1; }
must "systemd is up" within up

pid_of_qemu() { inside pgrep -f 'qemu-system-x86_64.*guest=web1'; }
answers() { inside vfnet status > /dev/null 2>&1; }
runs() { inside vfnet guest show web1 2> /dev/null | grep -q 'state *running'; }
active() { is "$(inside systemctl show vfnetd -p ActiveState --value)" active; }
# What the kernel says of both VFs: at the PF, their drivers, overrides and own MACs.
facts() {
    ip link show dev eth0 | grep ' vf '
    for vf in /sys/class/net/eth0/device/virtfn[01]; do
        readlink "$vf/driver" && cat "$vf/driver_override" "$vf"/net/*/address || return 1
    done
}
have_netdevs() { facts > /run/facts.before 2> /dev/null; }
as_before() { facts > /run/facts.after 2> /dev/null && diff /run/facts.before /run/facts.after; }

# Bits of linux/capability.h.
declare -A bit=([CHOWN]=0 [DAC_OVERRIDE]=1 [KILL]=5 [SETGID]=6 [SETUID]=7 [NET_ADMIN]=12
    [SYS_MODULE]=16 [SYS_PTRACE]=19 [SYS_RESOURCE]=24)
all=0
for capability in "${!bit[@]}"; do all=$((all | 1 << bit[$capability])); done
all=$(printf %016x $all)
none=$(printf %016x 0)

status() { inside sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# A process has exactly these capabilities, and cannot get others.
has() {
    local field
    for field in CapEff CapPrm; do must "$field of $1" is "$(status "$2" $field)" "$3"; done
    for field in CapInh CapAmb; do must "$field of $1" is "$(status "$2" $field)" $none; done
    must "CapBnd of $1" is "$(status "$2" CapBnd)" "$all"
    must "no new privileges for $1" is "$(status "$2" NoNewPrivs)" 1
    must "a filter of system calls for $1" is "$(status "$2" Seccomp)" 2
}
sandbox_holds() {
    local daemon uid filters
    daemon=$(inside systemctl show vfnetd -p MainPID --value)
    has vfnetd "$daemon" "$all"
    has QEMU "$qemu" $none
    uid=$(status "$qemu" Uid | cut -f1)
    must "QEMU has a uid of its own" test "$uid" -ge 1879048192
    must "QEMU is that user in every way" is "$(status "$qemu" Uid; status "$qemu" Gid)" \
        "$(printf '%s\t%s\t%s\t%s\n%s\t%s\t%s\t%s' $uid $uid $uid $uid $uid $uid $uid $uid)"
    must "QEMU is in no group" is "$(status "$qemu" Groups)" ''
    filters=$(status "$daemon" Seccomp_filters)
    must "QEMU's own filter comes on top" test "$(status "$qemu" Seccomp_filters)" -gt "$filters"
    must "QEMU sees the unit's file systems" is "$(inside readlink "/proc/$qemu/ns/mnt")" \
        "$(inside readlink "/proc/$daemon/ns/mnt")"
    must "QEMU is told nothing of the daemon's" is \
        "$(inside cat "/proc/$qemu/environ" | tr '\0' '\n' | cut -d= -f1 | sort | tr '\n' ' ')" \
        'LC_ALL PATH '
    must "its directory is its own" is "$(inside stat -c '%u %a' /run/vfnet/guests/web1-*/guest)" "$uid 700"
    must "what was to be started is root's" is "$(inside stat -c '%u %a' /run/vfnet/guests/web1-*/launch.json)" '0 600'
    must "what runs is root's" is "$(inside stat -c '%u %a' /run/vfnet/guests/web1-*/live.json)" '0 600'
    must "nobody else's secrets are in the state" is "$(inside find /var/lib/vfnet -type f -perm /077)" ''
    must "the hook script was denied everything" is "$(grep -v 'denied$' /run/probed)" ''
    must "it has tried everything" is "$(wc -l < /run/probed)" "$(wc -l < /run/probed.outside)"
}

# What a guest's scope lets its processes open, be it root's.
scope=
opens() { inside sh -c 'echo $$ > "/sys/fs/cgroup$0/cgroup.procs" && exec 3< "$1"' "$scope" "$1" > /run/said 2>&1; }
opens_outside() { inside sh -c 'exec 3< "$0"' "$1"; }
scope_holds() {
    local device
    scope=$(inside sed -n 's/^0:://p' "/proc/$qemu/cgroup")
    must "QEMU is in a scope of its own: $scope" expr "$scope" : '.*/vfnet-guest-[0-9a-f-]*-[0-9]*\.scope$'
    must "it can open what every program does" opens /dev/urandom
    must "it can open what guests with VFs do" opens /dev/vfio/vfio
    for device in /dev/kmsg /dev/fuse; do
        must "others can open $device" opens_outside $device
        must "its processes cannot" not opens $device
    done
}
no_scope() { [ -z "$(inside systemctl list-units --all --no-legend 'vfnet-guest-*.scope')" ]; }
vfio_groups() { inside find "/proc/$qemu/fd" -lname '/dev/vfio/[0-9]*'; }
plugs() {
    inside virsh -c 'qemu+unix:///system?socket=/run/vfnet/libvirt-sock' attach-device web1 /run/nic.xml --live
}

restart() {
    inside systemctl daemon-reload
    inside systemctl reset-failed vfnetd
    inside systemctl restart vfnetd
}
lacks() {
    printf '[Service]\nCapabilityBoundingSet=~CAP_%s\n' "$1" > $units/vfnetd.service.d/lack.conf
    restart
}
lacks_nothing() { rm -f $units/vfnetd.service.d/lack.conf; restart; }
starts() { inside timeout 60 vfnet guest start web1 > /run/said 2>&1; }
ends() { inside timeout 20 vfnet guest destroy web1 > /run/said 2>&1; }
not() { ! "$@" && sed 's/^/    /' /run/said; }
held() { [ "$(inside vfnet vf ls --json 2> /dev/null | grep -c '"state": "held"')" = "$1" ]; }
forget() {
    inside systemctl stop vfnetd
    rm -f /run/vfnet/live.db* /run/vfnet/guests/web1-*/live.json
}
both_free() { [ "$(inside vfnet vf ls --json 2> /dev/null | grep -c '"state": "free"')" = 2 ]; }

closed() {
    systemd-analyze security --offline=yes --no-pager --threshold=52 \
        packaging/systemd/vfnetd.service > /run/security.log
}
must "the unit is as closed as it was" closed
tail -n 1 /run/security.log

must "the sockets open" inside systemctl start vfnetd.socket vfnetd-ro.socket
must "the group may use the one" is "$(inside stat -c '%a %G' /run/vfnet/libvirt-sock)" '660 vfnet'
must "everybody may use the other" is "$(inside stat -c %a /run/vfnet/libvirt-sock-ro)" 666
must "a client starts the daemon" inside vfnet status

cat > /run/hw.xml <<'X'
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>hw</name>
  <forward mode='hostdev' managed='yes'><pf dev='eth0'/></forward>
  <vfnet:pool><vfnet:pf dev='eth0' vfs='2' autoprobe='yes'/></vfnet:pool>
</network>
X
cat > /run/web1.xml <<'X'
<domain type='qemu'>
  <name>web1</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <interface type='network'><mac address='52:54:00:6b:3c:58'/><source network='hw'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
</domain>
X
cat > /run/nic.xml <<'X'
<interface type='network'><mac address='52:54:00:6b:3c:59'/><source network='hw'/></interface>
X
must "a network is defined" inside vfnet net define /run/hw.xml
must "VFs are made in the sandbox" inside vfnet net start hw
must "they have their own driver" within have_netdevs
must "a guest is defined" inside vfnet guest define /run/web1.xml
must "a guest starts in the sandbox" inside vfnet guest start web1
qemu=$(pid_of_qemu)
must "it is QEMU" test -n "$qemu"
sandbox_holds
must "it has a VF" is "$(inside vfnet vf ls --json | grep -c '"state": "held"')" 1
scope_holds
must "a VF comes to the running guest" plugs
must "it has two VFs" held 2
must "QEMU has both open" is "$(vfio_groups | wc -l)" 2

must "a restart" inside systemctl restart vfnetd
must "the guest runs" within runs
must "it is the same process" is "$(pid_of_qemu)" "$qemu"

daemon=$(inside systemctl show vfnetd -p MainPID --value)
must "a kill" inside kill -9 "$daemon"
must "the daemon comes back" within answers
must "the guest runs" within runs
must "it is the same process" is "$(pid_of_qemu)" "$qemu"
must "systemd has restarted the daemon" active

must "a stop" inside systemctl stop vfnetd
must "the guest's process lives" is "$(pid_of_qemu)" "$qemu"
must "the next client starts the daemon" inside vfnet status
must "the guest runs" within runs
must "the guest is ended" inside vfnet guest destroy web1
must "its VF is free" is "$(inside vfnet vf ls --json | grep -c '"state": "free"')" 2
must "its VF is as it was" as_before
must "its scope is gone" within no_scope
must "nothing is left of it" is "$(inside find /run/systemd -name '*vfnet-guest*')" ''

# A guest's start, or its end, misses each capability.
for capability in SETUID SETGID CHOWN DAC_OVERRIDE SYS_RESOURCE NET_ADMIN; do
    must "without CAP_$capability" lacks $capability
    must "a guest does not start" not starts
    must "with all capabilities" lacks_nothing
    must "its VF is free" within both_free
done
must "without the module" modprobe -r vfio_pci
must "without CAP_SYS_MODULE" lacks SYS_MODULE
must "a guest does not start" not starts
must "with all capabilities" lacks_nothing
must "its VF is free" within both_free
must "a guest starts, and the module is loaded" starts
must "without CAP_KILL" lacks KILL
must "the guest runs" within runs
must "the guest is not ended" not ends
must "with all capabilities" lacks_nothing
# Its end was asked for, and is on record.
must "its VF is free" within both_free
must "its VF is as it was" as_before
# Where nothing is on record, it is the kernel that says whose a VF is.
must "a guest starts" starts
must "what is lent is forgotten" forget
must "without CAP_SYS_PTRACE" lacks SYS_PTRACE
must "the guest runs" within runs
must "nobody is found to have its VF" held 0
must "with all capabilities" lacks_nothing
must "its VF is found" within held 1
must "the guest is ended" ends
must "its VF is free" within both_free
echo "the units hold"
