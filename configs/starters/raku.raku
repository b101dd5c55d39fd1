sub greet(Str $name) { "Hello, $name!" }

say greet "world";
say (1..5).map(* ** 2);
