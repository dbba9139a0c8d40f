#!/bin/sh
# Which of its two systems this device runs, and whether it stays with it. Written by jos-image.
#
#   slot running   A or B
#   slot good      the one that runs is sound: it is booted from now on
#   slot late      some minutes after boot: good where the agent is up; else one that never was good makes room for the other
set -eu
env=@BOOT@/EFI/debian/grubenv
running=$(tr ' ' '\n' < /proc/cmdline | sed -n 's/^rauc\.slot=//p')

good() {
	rauc status mark-good
	# Last: until then this slot has one try and no more.
	grub-editenv "$env" set "CONFIRMED=$running"
	sync -f "$env"
}

case ${1-} in
running) echo "$running" ;;
good) good ;;
late)
	if systemctl --quiet is-active @SERVICE@.service; then
		# Else whoever installed it wants to say so itself.
		[ -e /data/rauc/trial ] || good
	elif [ "$(grub-editenv "$env" list | sed -n 's/^CONFIRMED=//p')" != "$running" ]; then
		echo "the agent is not up: slot $running makes room for the other"
		systemctl reboot
	fi
	;;
*)
	echo "usage: $0 running|good|late" >&2
	exit 2
	;;
esac
