# Second stage of the emulated host, in its own root: runs the program asked for with the second
# serial port as its terminal, says how it ended, and switches the host off.
# Kernel messages stay on the first serial port, so the two never mix.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
busybox=/run/vfnet-lab/busybox
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
. /run/vfnet-lab/environment
mount --bind "$VFNET_LAB_MODULES" /lib/modules
hostname vflab
ip link set lo up

$busybox stty -F /dev/ttyS1 -opost
echo VFLAB-UP > /dev/ttyS1
if [ -n "$VFNET_LAB_SHELL" ]; then
  set -- $VFNET_LAB_TERMINAL
  $busybox stty -F /dev/ttyS1 opost rows "$1" cols "$2"
  $busybox setsid -c bash -i < /dev/ttyS1 > /dev/ttyS1 2>&1
else
  sh /run/vfnet-lab/command < /dev/null > /dev/ttyS1 2>&1
fi
code=$?
mountpoint -q /disk && { cd /; sync; umount /disk 2>/dev/null || mount -o remount,ro /disk; }
printf '\nVFLAB-EXIT %s\n' "$code" > /dev/ttyS1
$busybox poweroff -f
