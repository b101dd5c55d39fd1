# "run.sh FILE [ARG...]" compiles a Nim file of the work directory into /tmp, and becomes the program.
# gcc without optimization and gold save a third of the time of a hello.
file=$1
shift
nim compile --hints:off --verbosity:0 --threads:on --nimcache:/tmp/nim --out:/tmp/main \
    --passC:-O0 --passL:-fno-use-linker-plugin --passL:-fuse-ld=gold --passL:/opt/lines.o "$file" </dev/null || exit
exec /tmp/main "$@"
