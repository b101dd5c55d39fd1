# "run.sh [ARG...]" compiles main.pas of the work directory into /tmp, and becomes the program.
# The modern language (classes, exceptions, long strings) with all checks, and lines in the traces of runtime errors.
fpc -l- -v0ew -Mobjfpc -Sh -Criot -gl -Fu/opt/pascal -Faprintlines -FE/tmp -FU/tmp main.pas </dev/null >&2 || exit
exec /tmp/main "$@"
