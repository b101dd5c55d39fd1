-module(main).
-export([main/0]).

main() ->
    io:format("~s~n", [greet("world")]),
    io:format("~p~n", [[N * N || N <- lists:seq(1, 5)]]).

greet(Name) -> "Hello, " ++ Name ++ "!".
