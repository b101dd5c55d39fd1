# Compiles the program into /tmp, since the work directory is read-only, and runs it with the arguments of this script.
# dynamic: linking the static libraries, which the image lacks, takes twice as long. An arg +RTS is the program's own.
ghc -v1 -O0 -dynamic -threaded -rtsopts=ignoreAll -outputdir /tmp/build -o /tmp/main main.hs >/tmp/log || exit
exec /tmp/main "$@"
