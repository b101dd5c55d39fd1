const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var buffer: [256]u8 = undefined;
    var stdout = std.Io.File.stdout().writer(init.io, &buffer);
    for ([_][]const u8{ "Zig", "World" }) |name| {
        try stdout.interface.print("Hello, {s}!\n", .{name});
    }
    try stdout.interface.flush();
}
