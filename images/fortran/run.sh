# "run.sh [ARG...]" compiles the Fortran files of the work directory into /tmp, main.f90 last, for it uses the modules of
# the others, and becomes the program.
compile() {
    set --
    for file in *.f90; do
        [ "$file" = main.f90 ] || set -- "$@" "$file"
    done
    gfortran -Wall -g -O1 -fcheck=all -fopenmp -pipe -fno-use-linker-plugin -J/tmp -o /tmp/main "$@" main.f90
}
compile </dev/null || exit
exec /tmp/main "$@"
