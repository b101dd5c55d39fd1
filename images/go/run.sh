# "run.sh [ARG...]" compiles the package in the work directory into /tmp, and becomes the program.
# Without a go.mod of its own the package is the module "example", whose packages are the folders beside it.
[ -e go.mod ] || overlay="-overlay=/opt/go/overlay.json"
go build $overlay -o /tmp/main </dev/null || exit
exec /tmp/main "$@"
