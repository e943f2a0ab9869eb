#!/usr/bin/env bash
# A pair of machines with one address: scripts/test-ha, with the binaries of this run.
#
#     scripts/acceptance --only ha
set -euo pipefail
EVENER="${ACCEPTANCE_BIN:?run scripts/acceptance --only ha}/evener" \
    exec "$(dirname "${BASH_SOURCE[0]}")/../test-ha"
