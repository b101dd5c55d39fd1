# "run.sh [ARG...]" compiles the C files of the work directory into /tmp, and becomes the program.
# The program reads stdin, so gcc must not; -fno-use-linker-plugin: the image has no link-time optimization.
gcc -std=gnu17 -Wall -O1 -pipe -fno-use-linker-plugin -o /tmp/main *.c /opt/lines.o -lm </dev/null || exit
exec /tmp/main "$@"
