# Makes the archives of the classes that a small program, and one with a test, load.
set -e
ln -s /usr/share/java/junit-platform-console-standalone.jar /opt/java/junit.jar
mkdir /tmp/archive
cd /tmp/archive
cat >Main.java <<'CODE'
import java.util.*;
import java.util.stream.*;

public class Main {
    record Point(int x, int y) {}
    interface Shape { double area(); }
    enum Color { RED, GREEN }
    public static void main(String[] args) throws Exception {
        Map<String, List<Integer>> map = new TreeMap<>();
        for (var i : List.of(1, 2, 3)) map.computeIfAbsent("n" + i % 2, k -> new ArrayList<>()).add(i);
        Shape shape = () -> 2.0;
        System.out.println(map + " " + new Point(1, 2) + shape.area() + Color.RED);
        System.out.printf("%d %s %.2f%n", 1, "two", 3.0);
        System.out.println(IntStream.range(0, 9).mapToObj(n -> "" + n).collect(Collectors.joining(",")));
        switch (args.length) { case 0 -> System.out.println("none"); default -> throw new Exception(); }
    }
}
CODE
java @/opt/java/options -XX:ArchiveClassesAtExit=/opt/java/javac.jsa Main.java
cat >MainTest.java <<'CODE'
import static org.junit.jupiter.api.Assertions.*;
import org.junit.jupiter.api.*;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MainTest {
    @BeforeEach void before() {}
    @Test void passes() { assertEquals(4, 2 + 2); }
    @ParameterizedTest @ValueSource(ints = {1, 2}) void parameters(int n) { assertTrue(n > 0); }
}
CODE
sed s/XX:SharedArchiveFile/XX:ArchiveClassesAtExit/ /opt/java/test.sh >test.sh
sh test.sh
rm -r /tmp/archive /tmp/classes
