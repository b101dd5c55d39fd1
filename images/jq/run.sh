# Runs main.jq on data.json or on stdin; without either it has no input.
set -eu
if [ -f data.json ]; then
    exec jq --from-file main.jq "$@" data.json
fi
# an input that is empty would be no output
if IFS= read -r line; then
    { printf '%s\n' "$line"; cat; } | jq --from-file main.jq "$@"
else
    exec jq --null-input --from-file main.jq "$@"
fi
