# Runs in the emulated host: makes seven VFs and prints each one's own MAC,
#   OWN-MAC <index> <mac>
ip link set eth0 up
pf=/sys/class/net/eth0/device
until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.2; done
echo 7 > $pf/sriov_numvfs
for index in 0 1 2 3 4 5 6; do
  until mac=$(cat $pf/virtfn$index/net/*/address 2>/dev/null); do sleep 0.2; done
  echo "OWN-MAC $index $mac"
done
