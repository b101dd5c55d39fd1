let greet name = Printf.sprintf "Hello, %s!" name

let () =
  print_endline (greet "world");
  List.init 5 (fun n -> (n + 1) * (n + 1))
  |> List.map string_of_int
  |> String.concat ", "
  |> print_endline
