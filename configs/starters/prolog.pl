parent(tom, bob).
parent(bob, ann).
parent(bob, joe).

grandparent(X, Z) :- parent(X, Y), parent(Y, Z).

main :-
    writeln('Hello, world!'),
    forall(grandparent(X, Z), format("~w is a grandparent of ~w~n", [X, Z])).
