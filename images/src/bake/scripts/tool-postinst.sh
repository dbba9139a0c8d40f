#!/bin/sh
set -e

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove)
	systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} @USERS@
	systemd-tmpfiles ${DPKG_ROOT:+--root="$DPKG_ROOT"} --create @FOLDERS@ || true
@ENABLE@
	;;
esac

exit 0
