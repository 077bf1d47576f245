#!/bin/bash
# What the jump box runs at boot, as root: arm the power-off, fetch the gate, check it, start it with least rights.
# `provision` puts one value into this script, the base64 of a BoxConfig (functions/wire/src/gate.rs), and nothing else.

# However this script ends, the machine powers off; its shutdown behaviour turns that into termination.
trap 'shutdown -P now' EXIT
set -euo pipefail

config=$(base64 --decode <<<'@DRAWBRIDGE_CONFIG@')
[[ $config =~ ^\{\"shutdown_at\":([0-9]+),\"gate_url\":\"([^\"\\]+)\",\"gate_sha256\":\"([0-9a-f]{64})\", ]]
shutdown_at=${BASH_REMATCH[1]} gate_url=${BASH_REMATCH[2]} gate_sha256=${BASH_REMATCH[3]}

# The timer needs no network, no credentials and no gate that works. Its unit is the minute: round up, at least one.
minutes=$(((shutdown_at - $(date +%s) + 59) / 60))
shutdown -P "+$((minutes > 1 ? minutes : 1))"

room=$(mktemp --directory)
cd "$room"
curl --silent --show-error --fail --retry 5 --retry-all-errors --max-time 120 --output drawbridge-gate "$gate_url"
sha256sum --check --quiet <<<"$gate_sha256  drawbridge-gate"
printf '%s' "$config" >config.json
chmod 0755 "$room" drawbridge-gate
chmod 0644 config.json

# No user, no group, no capability, and no way back to any. 65534 is nobody.
least=(setpriv --no-new-privs)
if ((EUID == 0)); then
  least+=(--reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all)
fi
"${least[@]}" ./drawbridge-gate --config config.json
