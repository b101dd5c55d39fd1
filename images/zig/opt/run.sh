# "run.sh [ARG...]" compiles main.zig of the work directory into /tmp, and becomes the program.
# zig writes to its cache, so it gets a copy.
cp -r /opt/zig/cache /tmp/zig
zig build-exe -femit-bin=/tmp/main main.zig </dev/null || exit
exec /tmp/main "$@"
