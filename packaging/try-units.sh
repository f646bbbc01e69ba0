#!/bin/bash
# Tries the units with systemd itself, in the emulated host and nowhere else:
#   cargo build && cargo xtask lab run packaging/try-units.sh
# or, as one of the scenarios: cargo xtask lab scenario guests-survive-a-restart-through-systemd
# A guest must live through restart, kill and stop of the service, in the unit's sandbox, and
# its VF must be afterwards what it was before.
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

must "the sockets open" inside systemctl start vfnetd.socket vfnetd-ro.socket
must "the group may use the one" is "$(inside stat -c '%a %G' /run/vfnet/libvirt-sock)" '660 vfnet'
must "everybody may use the other" is "$(inside stat -c %a /run/vfnet/libvirt-sock-ro)" 666
must "a client starts the daemon" inside vfnet status

cat > /run/hw.xml <<'X'
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>hw</name>
  <forward mode='hostdev' managed='yes'><pf dev='eth0'/></forward>
  <vfnet:pool><vfnet:pf dev='eth0' vfs='2'/></vfnet:pool>
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
  </devices>
</domain>
X
must "a network is defined" inside vfnet net define /run/hw.xml
must "VFs are made in the sandbox" inside vfnet net start hw
must "they have their own driver" within have_netdevs
must "a guest is defined" inside vfnet guest define /run/web1.xml
must "a guest starts in the sandbox" inside vfnet guest start web1
qemu=$(pid_of_qemu)
must "it is QEMU" test -n "$qemu"
must "it has a VF" is "$(inside vfnet vf ls --json | grep -c '"state": "held"')" 1

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
echo "the units hold"
