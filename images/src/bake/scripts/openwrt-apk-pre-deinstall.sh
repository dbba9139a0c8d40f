#!/bin/sh
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
export root="${IPKG_INSTROOT}"
export pkgname='JOS_PACKAGE'
. "${IPKG_INSTROOT}/lib/functions.sh"
default_prerm
