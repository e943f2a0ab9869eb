#!/usr/bin/env bash
# The status page of a running evener in a real Chromium: what it lists, how soon it knows of a dead backend,
# what its buttons do by mouse and by keyboard, that a hostile name stays text, that nothing breaks the
# Content-Security-Policy, that a phone has no horizontal scroll, that the tables are tables down to 900 px, that it
# says whether evener is ready, and that light, dark and labels can be read.
#
#     scripts/acceptance --only status-page
#     EVENER=target/release/evener scripts/acceptance.d/status-page.sh     by itself
if [[ -z ${ACCEPTANCE_BIN:-} ]]; then
    ACCEPTANCE_BIN="$(dirname "${EVENER:-target/release/evener}")"
fi
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need chromium chromium
need chromedriver chromium-driver
need python3 python3

# What it starts, it ends itself; what its programs wrote is in $scratch for `fail` to show.
python3 -B "$(dirname "${BASH_SOURCE[0]}")/status_page.py" "$bin" "$scratch" || fail "see above"
