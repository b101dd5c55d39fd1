% Loaded before the program. A program starts by itself, with a directive, or has a main/0, which is called then.
:- module(run, [start/0]).
% the frames of an error that nothing catches
:- use_module(library(prolog_stack)).

% no "|: " before what is read; lines, not blocks, into a pipe
:- prompt(_, '').
:- set_stream(user_output, buffer(line)).

:- dynamic started/0.
user:term_expansion((:- initialization(_)), _) :- assertz(started), fail.
user:term_expansion((:- main), _) :- assertz(started), fail.

start :- started, !.
start :- \+ user:current_predicate(main/0), !.
start :- user:main.
