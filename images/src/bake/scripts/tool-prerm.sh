#!/bin/sh
set -e

# An upgrade restarts the services when the new version is in place; only a removal stops them.
if [ -z "$DPKG_ROOT" ] && [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop @UNITS@ > /dev/null || true
fi

exit 0
