# Compiles the Java files of the work directory into /tmp/classes, against JUnit.
exec find . -name '*.java' -exec javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -J-Xmx1g -J-XX:-UsePerfData \
    -J-XX:SharedArchiveFile=/opt/java/javac.jsa -proc:none -cp "/opt/java/junit.jar" -d /tmp/classes {} +
