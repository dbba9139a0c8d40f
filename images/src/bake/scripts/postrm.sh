#!/bin/sh
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload > /dev/null || true
fi

if [ "$1" = purge ]; then
	if command -v deb-systemd-helper > /dev/null; then
		deb-systemd-helper purge '@UNIT@' '@RECOVER@' > /dev/null || true
		deb-systemd-helper unmask '@UNIT@' '@RECOVER@' > /dev/null || true
		deb-systemd-helper purge@BROUGHT@ > /dev/null || true
	fi
	# Another package of this kind may have taken over: then the data are its data.
	if [ ! -e /usr/bin/jos ]; then
		rm -rf /var/lib/jos /etc/jos /run/jos
		if command -v deluser > /dev/null && getent passwd jos > /dev/null; then
			deluser --quiet --system jos > /dev/null 2>&1 || true
		fi
	fi
fi

exit 0
