#!/bin/sh
# Removes the agent: sudo sh uninstall.sh [--purge]
#   --purge   also settings, secrets and the ledger
set -eu
if [ "$(id -u)" -ne 0 ]; then
	echo "uninstall.sh: run it as root: sudo sh '$0'" >&2
	exit 2
fi
case "${1:-}" in
'' | --purge) ;;
*)
	echo "uninstall.sh: unknown option $1; only --purge is known" >&2
	exit 2
	;;
esac
launchctl bootout "system/@LABEL@" 2> /dev/null || true
rm -f "/Library/LaunchDaemons/@LABEL@.plist" /usr/local/bin/jos /usr/local/share/man/man1/jos.1
pkgutil --forget "@LABEL@" > /dev/null 2>&1 || true
if [ "${1:-}" = --purge ]; then
	rm -rf "@ETC@" /var/log/jos.log
	echo "removed, settings and data too"
else
	rm -rf "@SHARE@"
	echo "removed; settings and data are kept in @ETC@ (--purge removes them)"
fi
