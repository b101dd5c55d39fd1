# Compiles the program into /tmp, since the work directory is read-only, and runs it with the arguments of this script.
mkdir /tmp/build
cp ./*.ml /tmp/build
cp ./*.mli /tmp/build 2>/dev/null
cd /tmp/build || exit
sources=main.ml
[ "$(echo ./*.ml*)" = ./main.ml ] || sources=$(ocamldep -sort ./*.ml*) || exit
ocamlc -g -o /tmp/main -I +threads unix.cma threads.cma str.cma $sources || exit
cd - >/dev/null && exec ocamlrun /tmp/main "$@"
