#!/bin/sh
# The only process of a guest inside the emulated host. It prints each NIC as soon as the guest
# has it, on the serial console:
#   GUEST-NIC <mac> <ifname> <driver>
# Words on the kernel's command line ask for more:
#   vflab.stay      also print GUEST-ALIVE <n> every two seconds
#   vflab.acpi      power off when the power button is pressed
#   vflab.console   answer each line typed on the console with GUEST-HEARD <line>; power off when
#                   it is "poweroff"
#   vflab.poweroff  power off after the first NIC
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
read -r words < /proc/cmdline
for module in /modules/*; do insmod "$module"; done
case " $words " in *" vflab.acpi "*)
  for module in /acpi-modules/*; do insmod "$module"; done
  # The power button is the only input device here: its first event is a press.
  for event in /dev/input/event*; do
    (head -c 24 "$event" > /dev/null; echo GUEST-POWER-BUTTON; poweroff -f) &
  done ;;
esac
case " $words " in *" vflab.console "*)
  while read -r line; do
    case "$line" in poweroff) poweroff -f ;; esac
    echo "GUEST-HEARD $line"
  done < /dev/console & ;;
esac
echo GUEST-UP

seen=' '
count=0
while :; do
  now=' '
  for nic in /sys/class/net/*/device; do
    [ -e "$nic" ] || continue
    nic=${nic%/device}
    name=${nic##*/}
    read -r mac < "$nic/address"
    now="$now$mac "
    case "$seen" in *" $mac "*) continue ;; esac
    driver=$(readlink "$nic/device/driver")
    echo "GUEST-NIC $mac $name ${driver##*/}"
    case " $words " in *" vflab.poweroff "*) poweroff -f ;; esac
  done
  for mac in $seen; do
    case "$now" in *" $mac "*) ;; *) echo "GUEST-NIC-GONE $mac" ;; esac
  done
  seen=$now
  count=$((count + 1))
  case " $words " in *" vflab.stay "*) echo "GUEST-ALIVE $count" ;; esac
  sleep 2
done
