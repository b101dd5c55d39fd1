import java.util.List;

public class Main {
    record Greeting(String name) {
        String text() {
            return "Hello, " + name + "!";
        }
    }

    public static void main(String[] args) {
        List.of("Duke", "World").forEach(name -> System.out.println(new Greeting(name).text()));
    }
}
