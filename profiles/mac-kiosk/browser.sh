#!/bin/sh
# Shows the page named by the state, and keeps the display awake. launchd starts it again when the browser is closed.
set -eu
here='/Library/Application Support/mac-kiosk'
url=$(head -n 1 "$here/start-url" 2> /dev/null || true)
case "$url" in
https://* | http://* | file:///*) ;;
*) url="file:///Library/Application%20Support/mac-kiosk/www/index.html" ;;
esac

for browser in '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' \
	'/Applications/Chromium.app/Contents/MacOS/Chromium' \
	'/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge'; do
	if [ -x "$browser" ]; then
		exec caffeinate -d "$browser" --kiosk --incognito --no-first-run "$url"
	fi
done
# Safari has no kiosk mode of its own; it is waited for, so that launchd does not open it again and again.
exec caffeinate -d open -W -a Safari "$url"
