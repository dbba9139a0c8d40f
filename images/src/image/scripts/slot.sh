#!/bin/sh
# Which of its two systems this device runs, and whether it stays with it. Written by jos-image.
#
#   slot running   A or B
#   slot good      the one that runs is sound: it is booted from now on
#   slot install B [S]   the bundle B into the other one; from now on nobody but `keep` and `stay` calls one good by itself. One
#                  that neither was said of S seconds after its start is left
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

# Whether this slot's system was ever called good.
confirmed() {
	[ "$(grub-editenv "$env" list | sed -n 's/^CONFIRMED=//p')" = "$running" ]
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

# decided: waits until whoever installed this system has said what it is, as long as was given with it.
decided() {
	within=$(cat "$trial" 2> /dev/null || :)
	case $within in
	'' | *[!0-9]*) return 0 ;;
	esac
	while [ -e "$trial" ]; do
		read -r up _ < /proc/uptime
		[ "${up%%.*}" -lt "$within" ] || return 1
		sleep 5
	done
}

case ${1-} in
install)
	echo "${3-}" > "$trial"
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
	if ! systemctl --quiet is-active @SERVICE@.service; then
		if ! confirmed; then
			echo "the agent is not up: slot $running makes room for the other"
			systemctl reboot
		fi
	elif [ ! -e "$trial" ]; then
		good
	elif ! confirmed && ! decided && ! confirmed; then
		# Else whoever installed it wants to say so itself.
		echo "nobody has said in $within seconds that slot $running is good: it makes room for the other"
		systemctl reboot
	fi
	;;
*)
	echo "usage: $0 running|good|install BUNDLE [SECONDS]|keep|stay|leave|late" >&2
	exit 2
	;;
esac
