# Runs the unittest blocks of main.d of the work directory, and of the modules that it imports; main may be missing.
ldc2 -gline-tables-only -i -unittest -main -link-defaultlib-shared -linker=gold -od=/tmp/objects -of=/tmp/main main.d || exit
exec /tmp/main
