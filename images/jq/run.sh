# The filter reads the file data.json, or else stdin. If that is empty, too, its input is null.
if [ -f data.json ]; then
    exec jq --unbuffered -f main.jq data.json "$@"
fi
cat > /tmp/stdin
[ -s /tmp/stdin ] || set -- -n "$@"
exec jq --unbuffered -f main.jq "$@" < /tmp/stdin
