# "run.sh [ARG...]" compiles the Java files of the work directory, and becomes the program.
# A single file is run as it is: java compiles it in memory, whatever its class is called.
if [ "$(find . -name '*.java' | wc -l)" -eq 1 ]; then
    exec java @/opt/java/options -XX:SharedArchiveFile=/opt/java/javac.jsa Main.java "$@"
fi
sh /opt/java/compile.sh </dev/null || exit
exec java @/opt/java/options -cp /tmp/classes Main "$@"
