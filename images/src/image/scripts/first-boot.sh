#!/bin/sh
# What must not be the same on two devices, and what the image could not know: made once, at first boot.
# Written by jos-image.
set -u

# The host name, from the device's own serial number where it has one.
if [ -r /usr/lib/jos-image/hostname ] && [ ! -s /etc/hostname ]; then
	serial=
	for from in /proc/device-tree/serial-number /sys/class/dmi/id/product_serial; do
		if [ -r "$from" ]; then
			serial=$(tr -d '\0' < "$from" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9')
		fi
		[ -z "$serial" ] || break
	done
	[ -n "$serial" ] || serial=$(cut -c1-8 /etc/machine-id)
	name=$(sed "s/{serial}/$serial/" /usr/lib/jos-image/hostname | cut -c1-63)
	echo "$name" > /etc/hostname
	hostname "$name"
fi

# SSH keys of this device alone.
if command -v ssh-keygen > /dev/null; then
	for kind in ed25519 ecdsa; do
		key=/etc/ssh/ssh_host_${kind}_key
		[ -s "$key" ] || ssh-keygen -q -t "$kind" -N '' -f "$key" < /dev/null
	done
fi

# The root file system takes the rest of its disk.
device=$(findmnt -n -o SOURCE /)
name=${device##*/}
part=$(cat "/sys/class/block/$name/partition" 2> /dev/null)
disk=$(readlink -f "/sys/class/block/$name/.." 2> /dev/null)
disk=/dev/${disk##*/}
if [ -n "$part" ] && [ -b "$disk" ]; then
	sfdisk --quiet --no-reread --relocate gpt-bak-std "$disk"
	echo ',+' | sfdisk --quiet --no-reread --no-tell-kernel -N "$part" "$disk"
	partx --update --nr "$part" "$disk"
	resize2fs "$device"
fi

mkdir -p /var/lib/jos-image
: > /var/lib/jos-image/first-boot-done
sync
