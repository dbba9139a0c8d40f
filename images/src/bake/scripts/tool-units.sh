	# shellcheck disable=SC2043 # A package may have one unit alone.
	for unit in @UNITS@; do
		deb-systemd-helper unmask "$unit" > /dev/null || true
		# was-enabled is true on the first installation, and false after an administrator's own `systemctl disable`.
		if deb-systemd-helper --quiet was-enabled "$unit"; then
			deb-systemd-helper enable "$unit" > /dev/null || true
		else
			deb-systemd-helper update-state "$unit" > /dev/null || true
		fi
	done
	if [ -d /run/systemd/system ]; then
		systemctl --system daemon-reload > /dev/null || true
		if [ -n "$2" ]; then
			deb-systemd-invoke restart @UNITS@ > /dev/null || true
		else
			deb-systemd-invoke start @UNITS@ > /dev/null || true
		fi
	fi
