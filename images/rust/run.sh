# "run.sh [ARG...]" compiles main.rs of the work directory into /tmp, and becomes the program.
rustc @/opt/rust/flags -o /tmp/main main.rs </dev/null || exit
exec /tmp/main "$@"
