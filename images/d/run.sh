# "run.sh [ARG...]" compiles main.d of the work directory, and the modules that it imports, into /tmp, and becomes the
# program. The shared library and gold save half of the time of a hello.
ldc2 -gline-tables-only -i -link-defaultlib-shared -linker=gold -od=/tmp/objects -of=/tmp/main main.d /opt/lines.o </dev/null || exit
exec /tmp/main "$@"
