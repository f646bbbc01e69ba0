#!/bin/sh
# First process of the emulated host: builds the root that the second stage runs in.
# The outer machine's root comes read-only over 9p; a tmpfs on top takes what is written.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done

mkdir -p /lower /upper /root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=1048576,cache=loose root /lower
mount -t tmpfs -o size=60% tmpfs /upper
mkdir -p /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root

mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p /root/run/lock /root/run/vfnet-lab /root/save /root/disk
cp -r /vfnet-lab/. /bin/busybox /root/run/vfnet-lab/
grep -q vflab.save /proc/cmdline &&
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 save /root/save
[ -b /dev/vda ] && mount -t ext4 /dev/vda /root/disk

for folder in proc sys dev; do mount --move /$folder /root/$folder; done
exec switch_root /root /run/vfnet-lab/busybox sh /run/vfnet-lab/stage2.sh
