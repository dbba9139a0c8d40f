#!/bin/busybox sh
# shellcheck shell=dash
# Finds the root file system and hands over to it. Written by jos-image.
/bin/busybox mkdir -p /bin /sbin
/bin/busybox --install -s /bin
PATH=/bin
export PATH
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys

root=
next=/sbin/init
# shellcheck disable=SC2013  # words are what is wanted
for word in $(cat /proc/cmdline); do
	case $word in
	root=*) root=${word#root=} ;;
	init=*) next=${word#init=} ;;
	esac
done

while read -r module; do modprobe "$module" 2> /dev/null; done < /modules

# A disk may take its time to appear: half a minute at most.
tries=0
until device=$(findfs "$root" 2> /dev/null) && [ -b "$device" ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 600 ]; then
		echo "jos: no disk holds the root file system $root; these are there:"
		cat /proc/partitions
		exec sh
	fi
	usleep 50000
done
if ! mount -t ext4 -o ro "$device" /root; then
	echo "jos: $device holds no file system that can be mounted"
	exec sh
fi
mount -o move /dev /root/dev
mount -o move /proc /root/proc
mount -o move /sys /root/sys
exec switch_root /root "$next"
