#!/bin/sh
# First process of the emulated host: builds the root that the second stage runs in.
# The outer machine's root comes read-only over 9p; a tmpfs on top takes what is written.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done

mkdir -p /lower /upper /merged
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=1048576,cache=loose root /lower
mount -t tmpfs -o size=60% tmpfs /upper
mkdir -p /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /merged

mount -t tmpfs -o mode=755 tmpfs /merged/run
mkdir -p /merged/run/lock /merged/run/vfnet-lab /merged/save /merged/disk
cp -r /vfnet-lab/. /bin/busybox /merged/run/vfnet-lab/
grep -q vflab.save /proc/cmdline &&
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 save /merged/save
if [ -b /dev/vda ] && ! mount -t ext4 /dev/vda /merged/disk; then
  echo 'the disk of this host cannot be mounted' > /dev/console
  poweroff -f
fi

for folder in proc sys dev; do mount --move /$folder /merged/$folder; done
exec switch_root /merged /run/vfnet-lab/busybox sh /run/vfnet-lab/stage2.sh
