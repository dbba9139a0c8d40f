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
slot=
disk=
next=/sbin/init
# shellcheck disable=SC2013  # words are what is wanted
for word in $(cat /proc/cmdline); do
	case $word in
	root=*) root=${word#root=} ;;
	init=*) next=${word#init=} ;;
	jos.data=*) data=${word#jos.data=} ;;
	rauc.slot=*) slot=${word#rauc.slot=} ;;
	esac
done

while read -r module; do modprobe "$module" 2> /dev/null; done < /modules

# stuck WORDS: this system cannot be had. Where there are two, the loader takes the other.
stuck() {
	echo "jos: $1"
	if [ -n "$slot" ]; then
		echo "jos: another start in ten seconds"
		sleep 10
		reboot -f
	fi
	exec sh
}

# found NAME: the device of a file system, by its UUID; or of a partition, by its name, on the disk that holds the data.
found() {
	case $1 in
	PARTLABEL=*)
		at=$(grep -lx "PARTNAME=${1#PARTLABEL=}" "$disk"/*/uevent 2> /dev/null | head -n 1)
		at=${at%/uevent}
		echo "/dev/${at##*/}"
		;;
	*) findfs "$1" 2> /dev/null ;;
	esac
}

# mounted OPTIONS NAME FOLDER: a disk may take its time to appear, half a minute at most.
mounted() {
	tries=0
	until device=$(found "$2") && [ -b "$device" ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 600 ]; then
			cat /proc/partitions
			stuck "no disk holds the file system $2; those above are there"
		fi
		usleep 50000
	done
	mount -t ext4 -o "$1" "$device" "$3" || stuck "$device holds no file system that can be mounted"
}

if [ -z "$data" ]; then
	mounted ro "$root" /root
else
	# A root that is never written to: what is, lies in memory and is gone after a reboot, but for what is kept on its own
	# partition: the agent's data, its settings, and what makes this device another than its twin.
	mounted rw,noatime "$data" /data
	disk=$(readlink -f "/sys/class/block/${device##*/}/..")
	mounted ro "$root" /lower
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
