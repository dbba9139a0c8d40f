#!/bin/sh
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload > /dev/null || true
fi

# What a service has written stays: it is not the package's.
if [ "$1" = purge ] && command -v deb-systemd-helper > /dev/null; then
	deb-systemd-helper purge @UNITS@ > /dev/null || true
	deb-systemd-helper unmask @UNITS@ > /dev/null || true
fi

exit 0
