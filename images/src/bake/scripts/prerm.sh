#!/bin/sh
set -e

# An upgrade restarts the service when the new version is in place; only a removal stops it.
if [ -z "$DPKG_ROOT" ] && [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop '@UNIT@' > /dev/null || true
	deb-systemd-invoke stop@BROUGHT@ > /dev/null || true
fi

exit 0
