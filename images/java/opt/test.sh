# Compiles the Java files of the work directory, and runs their tests.
sh /opt/java/compile.sh || exit
exec java @/opt/java/options -XX:SharedArchiveFile=/opt/java/junit.jsa -jar /opt/java/junit.jar \
    --class-path /tmp/classes --scan-classpath --include-classname '.*' --disable-banner --disable-ansi-colors
