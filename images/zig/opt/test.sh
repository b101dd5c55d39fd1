# Runs the tests of main.zig of the work directory, and of the files that it refers to.
cp -r /opt/zig/cache /tmp/zig
exec zig test main.zig
