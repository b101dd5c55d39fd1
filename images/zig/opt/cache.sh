# Makes the cache of what zig compiles for every program, and for every test.
set -e
cat >/tmp/main.zig <<'CODE'
const std = @import("std");

pub fn main(init: std.process.Init) !void {
    std.debug.print("{d} {s}\n", .{ 1, "text" });
    var list: std.ArrayList(u8) = .empty;
    try list.append(init.gpa, 1);
    list.deinit(init.gpa);
}

test "test" {
    try std.testing.expectEqual(4, 2 + 2);
}
CODE
zig build-exe -femit-bin=/tmp/main /tmp/main.zig
zig test /tmp/main.zig
rm -rf /tmp/main* /tmp/zig/tmp /tmp/zig/o/*/test
mv /tmp/zig /opt/zig/cache
