import std.algorithm, std.range, std.stdio;

void main() {
    foreach (name; ["Walter", "Andrei"]) {
        writefln("Hello, %s!", name);
    }
    writeln(iota(1, 6).map!(n => n * n).filter!(n => n % 2 == 1));
}
