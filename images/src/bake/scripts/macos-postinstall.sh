#!/bin/sh
# Run by the installer as root. $3 is the volume installed to.
set -e
root="${3%/}"
etc="$root@ETC@"
defaults="$root@SHARE@/defaults"

# Settings are copied only where nothing is there: what somebody changed survives an upgrade.
for file in agent.toml policy.toml hub-ca.pem; do
	if [ -f "$defaults/$file" ] && [ ! -e "$etc/$file" ]; then
		cp "$defaults/$file" "$etc/$file"
		chown root:wheel "$etc/$file"
		chmod 0644 "$etc/$file"
	fi
done
# The token to enrol with, where the machine has not enrolled yet: the agent removes it then.
if [ -f "$defaults/token" ] && [ ! -e "$etc/token" ] && [ ! -e "$etc/state/identity/hub.json" ]; then
	install -m 0600 -o root -g wheel "$defaults/token" "$etc/token"
fi
mkdir -p "$etc/state"
chown root:wheel "$etc/state" "$etc/secrets"
chmod 0700 "$etc/state" "$etc/secrets"
plist="/Library/LaunchDaemons/@LABEL@.plist"
chown root:wheel "$root$plist"
chmod 0644 "$root$plist"

# Only on the running system can its launchd be told.
if [ -z "$root" ]; then
	launchctl bootout "system/@LABEL@" 2> /dev/null || true
	launchctl enable "system/@LABEL@"
	launchctl bootstrap system "$plist"
fi
exit 0
