import std/strformat

proc greet(name: string): string =
  fmt"Hello, {name}!"

for name in ["Nim", "World"]:
  echo greet(name)
