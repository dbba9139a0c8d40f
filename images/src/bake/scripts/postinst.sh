#!/bin/sh
set -e

if [ "$1" = configure ]; then
	# The half of the agent that speaks to the network runs as this user.
	if ! getent passwd jos > /dev/null; then
		adduser --system --group --quiet --no-create-home --home /nonexistent --gecos "jos network half" jos
	fi
fi

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove)
	for unit in '@UNIT@' '@RECOVER@'; do
		deb-systemd-helper unmask "$unit" > /dev/null || true
		# was-enabled is true on the first installation, and false after an administrator's own `systemctl disable`.
		if deb-systemd-helper --quiet was-enabled "$unit"; then
			deb-systemd-helper enable "$unit" > /dev/null || true
		else
			deb-systemd-helper update-state "$unit" > /dev/null || true
		fi
	done
	deb-systemd-helper update-state@BROUGHT@ > /dev/null || true
	if [ -d /run/systemd/system ]; then
		systemctl --system daemon-reload > /dev/null || true
		if [ -n "$2" ]; then
			deb-systemd-invoke restart '@UNIT@' > /dev/null || true
		else
			deb-systemd-invoke start '@UNIT@' > /dev/null || true
		fi
	fi
	;;
esac

exit 0
