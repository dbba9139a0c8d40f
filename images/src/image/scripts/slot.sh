#!/bin/sh
# Which of its two systems this device runs, and whether it stays with it. Written by jos-image.
#
#   slot running   A or B
#   slot good      the one that runs is sound: it is booted from now on
#   slot install B the bundle B into the other one; from now on nobody but `keep` and `stay` calls one good by itself
#   slot keep      good, and the trial is over
#   slot stay      the one that runs is started from now on, and the other is not
#   slot leave     the other is started from now on, and the one that runs is not
#   slot late      some minutes after boot: good where the agent is up; else one that never was good makes room for the other
set -eu
env=@BOOT@/EFI/debian/grubenv
trial=/data/rauc/trial
running=$(tr ' ' '\n' < /proc/cmdline | sed -n 's/^rauc\.slot=//p')

good() {
	rauc status mark-good
	# Last: until then this slot has one try and no more.
	grub-editenv "$env" set "CONFIRMED=$running"
	sync -f "$env"
}

# What somebody began and does not wait for any more would still have its say at its end.
idle() {
	tries=0
	until [ "$(busctl get-property de.pengutronix.rauc / de.pengutronix.rauc.Installer Operation)" = 's "idle"' ]; do
		tries=$((tries + 1))
		if [ $tries -gt 180 ]; then
			echo "RAUC does not come to an end of what it does"
			exit 1
		fi
		sleep 5
	done
}

over() {
	rm -f "$trial"
	sync -f "${trial%/*}"
}

case ${1-} in
install)
	: > "$trial"
	sync -f "${trial%/*}"
	rauc install "$2"
	;;
keep)
	good
	over
	;;
stay)
	idle
	rauc status mark-bad other
	rauc status mark-active booted
	good
	over
	;;
leave)
	rauc status mark-active other
	rauc status mark-bad booted
	sync -f "$env"
	;;
running) echo "$running" ;;
good) good ;;
late)
	if systemctl --quiet is-active @SERVICE@.service; then
		# Else whoever installed it wants to say so itself.
		[ -e "$trial" ] || good
	elif [ "$(grub-editenv "$env" list | sed -n 's/^CONFIRMED=//p')" != "$running" ]; then
		echo "the agent is not up: slot $running makes room for the other"
		systemctl reboot
	fi
	;;
*)
	echo "usage: $0 running|good|install BUNDLE|keep|stay|leave|late" >&2
	exit 2
	;;
esac
