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
data=
next=/sbin/init
# shellcheck disable=SC2013  # words are what is wanted
for word in $(cat /proc/cmdline); do
	case $word in
	root=*) root=${word#root=} ;;
	init=*) next=${word#init=} ;;
	jos.data=*) data=${word#jos.data=} ;;
	esac
done

while read -r module; do modprobe "$module" 2> /dev/null; done < /modules

# mounted OPTIONS NAME FOLDER: a disk may take its time to appear, half a minute at most.
mounted() {
	tries=0
	until device=$(findfs "$2" 2> /dev/null) && [ -b "$device" ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 600 ]; then
			echo "jos: no disk holds the file system $2; these are there:"
			cat /proc/partitions
			exec sh
		fi
		usleep 50000
	done
	if ! mount -t ext4 -o "$1" "$device" "$3"; then
		echo "jos: $device holds no file system that can be mounted"
		exec sh
	fi
}

if [ -z "$data" ]; then
	mounted ro "$root" /root
else
	# A root that is never written to: what is, lies in memory and is gone after a reboot, but for what is kept on its own
	# partition: the agent's data, its settings, and what makes this device another than its twin.
	mounted ro "$root" /lower
	mounted rw,noatime "$data" /data
	mount -t tmpfs -o mode=0755,size=50% memory /memory
	mkdir /memory/upper /memory/work
	mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work root /root
	if [ ! -d /data/state ]; then
		mkdir -p /data/identity /data/settings /data/settings.work
		rm -rf /data/state.new
		cp -a /root/var/lib/jos /data/state.new
		sync
		mv /data/state.new /data/state
	fi
	cp -a /data/identity/. /root/
	mount -o bind /data/state /root/var/lib/jos
	mount -t overlay -o lowerdir=/lower/etc/jos,upperdir=/data/settings,workdir=/data/settings.work settings /root/etc/jos
	mount -o move /data /root/data
fi
mount -o move /dev /root/dev
mount -o move /proc /root/proc
mount -o move /sys /root/sys
exec switch_root /root "$next"
