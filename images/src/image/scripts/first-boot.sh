#!/bin/sh
# What must not be the same on two devices, and what the image could not know: made once, at first boot.
# Written by jos-image.
set -u
boot=/@BOOT@

# put MODE FILE: its standard input, whole or not at all.
put() {
	mkdir -p "${2%/*}"
	(umask 077 && cat > "$2.new") && chmod "$1" "$2.new" && sync "$2.new" && mv "$2.new" "$2"
}

# What only this device has, from the seed that lies on its boot partition.
seed=$boot/jos-seed.txt
if [ -f "$seed" ]; then
	value() { tr -d '\r' < "$seed" | sed -n "s/^$1=//p" | head -n 1; }
	name=$(value hostname | tr -cd 'a-z0-9-' | cut -c1-63)
	if [ -n "$name" ]; then
		echo "$name" | put 0644 /etc/hostname
		hostname "$name"
	fi
	token=$(value token)
	[ -z "$token" ] || echo "$token" | put 0600 /etc/jos/token
	ssid=$(value wifi_ssid)
	passphrase=$(value wifi_passphrase)
	if [ -n "$ssid" ] && [ -r /usr/lib/jos-image/wifi ]; then
		{
			cat /usr/lib/jos-image/wifi
			printf 'network={\n\tssid=%s\n' "$(printf %s "$ssid" | od -An -v -tx1 | tr -d ' \n')"
			if [ -n "$passphrase" ]; then
				printf '\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk="%s"\n' "$passphrase"
			else
				printf '\tkey_mgmt=NONE\n'
			fi
			printf '\tscan_ssid=1\n}\n'
		} | put 0600 /etc/wpa_supplicant/jos.conf
	fi
fi

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
	echo "$name" | put 0644 /etc/hostname
	hostname "$name"
fi

# SSH keys of this device alone.
if command -v ssh-keygen > /dev/null; then
	for kind in ed25519 ecdsa; do
		key=/etc/ssh/ssh_host_${kind}_key
		[ -s "$key" ] || ssh-keygen -q -t "$kind" -N '' -f "$key" < /dev/null
	done
fi

# The last file system of the image takes the rest of its disk.
device=$(findmnt -n -o SOURCE "@GROWS@")
name=${device##*/}
part=$(cat "/sys/class/block/$name/partition" 2> /dev/null)
disk=$(readlink -f "/sys/class/block/$name/.." 2> /dev/null)
disk=/dev/${disk##*/}
if [ -n "$part" ] && [ -b "$disk" ]; then
	# A GPT keeps a second copy of itself at the end; an MBR has none.
	if [ "$(lsblk -d -n -o PTTYPE "$disk")" = gpt ]; then
		sfdisk --quiet --no-reread --relocate gpt-bak-std "$disk"
	fi
	echo ',+' | sfdisk --quiet --no-reread --no-tell-kernel -N "$part" "$disk"
	partx --update --nr "$part" "$disk"
	resize2fs "$device"
fi

# A root that is read-only forgets all this; the initial RAM disk lays it over the root at each boot.
kept=/usr/lib/jos-image/kept
if [ -r "$kept" ]; then
	rm -rf /data/identity.new
	mkdir /data/identity.new
	# shellcheck disable=SC2046  # patterns are what is wanted
	(cd / && cp -a --parents $(ls -d $(cat "$kept") 2> /dev/null) /data/identity.new)
	sync -f /data
	rm -rf /data/identity
	mv /data/identity.new /data/identity
fi
sync

# The seed has done its work, and all of that is on the disk; a card that changes hands tells nothing.
if [ -f "$seed" ]; then
	mount -o remount,rw "$boot"
	head -c "$(stat -c %s "$seed")" /dev/zero | dd of="$seed" conv=notrunc,fsync 2> /dev/null
	rm "$seed"
	sync -f "$boot"
	# As fstab has it.
	mount -o remount "$boot"
fi

# Last: whatever was cut off before is done again.
mkdir -p /var/lib/jos-image
: > /var/lib/jos-image/first-boot-done
[ ! -r "$kept" ] || (cd / && cp -a --parents var/lib/jos-image/first-boot-done /data/identity)
sync
