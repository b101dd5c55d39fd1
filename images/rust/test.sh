# Compiles main.rs of the work directory with its tests into /tmp, and runs them.
rustc @/opt/rust/flags --test -o /tmp/main main.rs || exit
exec /tmp/main
