defmodule Greeter do
  def greet(name), do: "Hello, #{name}!"
end

"world" |> Greeter.greet() |> IO.puts()
1..5 |> Enum.map(&(&1 * &1)) |> IO.inspect()
