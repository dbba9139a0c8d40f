#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
export root="${IPKG_INSTROOT}"
export pkgname='JOS_PACKAGE'
# Keeps the service enabled or not, as it was.
export PKG_UPGRADE=1
. "${IPKG_INSTROOT}/lib/functions.sh"
default_postinst || exit
# procd takes a start of what runs for no change; the new program comes with a restart.
[ -n "${IPKG_INSTROOT}" ] || /etc/init.d/JOS_SERVICE restart
