%% Compiles the modules of the work directory in memory, and runs the one that the command line names: its main/0,
%% main/1 (with the arguments, as escript does) or start/0. "test" in its place runs the modules' EUnit tests.
-module(run).
-export([start/1]).

start([What]) ->
    Args = init:get_plain_arguments(),
    io:setopts(standard_io, [{encoding, unicode}]),
    io:setopts(standard_error, [{encoding, unicode}]),
    Options = [{d, 'TEST'} || What =:= "test"],
    Modules = [load(File, Options) || File <- filelib:wildcard("*.erl")],
    lists:member(error, Modules) andalso halt(1),
    case What of
        "test" -> test(Modules);
        _ -> run(list_to_atom(What), Args)
    end.

load(File, Options) ->
    case compile:file(File, [binary, debug_info, report, {i, "."} | Options]) of
        {ok, Module, Binary} ->
            {module, Module} = code:load_binary(Module, filename:absname(File), Binary),
            Module;
        error ->
            error
    end.

test(Modules) ->
    %% EUnit takes those of foo_tests for foo's, too
    Names = [atom_to_list(Module) || Module <- Modules],
    Own = [list_to_atom(Name) || Name <- Names, not lists:member(Name, [Other ++ "_tests" || Other <- Names])],
    case eunit:test(Own) of
        ok -> halt(0);
        error -> halt(1)
    end.

run(Module, Args) ->
    Entries = [{main, []}, {main, [Args]}, {start, []}],
    Exported = [Entry || {Name, List} = Entry <- Entries, erlang:function_exported(Module, Name, length(List))],
    {Function, Arguments} = hd(Exported ++ Entries),
    try
        apply(Module, Function, Arguments)
    of
        _ -> halt(0)
    catch
        Class:Reason:Stack ->
            Own = lists:takewhile(fun(Frame) -> element(1, Frame) =/= ?MODULE end, Stack),
            io:put_chars(standard_error, [erl_error:format_exception(Class, Reason, Own), $\n]),
            halt(1)
    end.
