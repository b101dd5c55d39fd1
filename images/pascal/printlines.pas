{ Part of every program: its output appears line by line, as in a terminal. }
unit printlines;

interface

implementation

initialization
    TextRec(Output).FlushFunc := TextRec(Output).InOutFunc;
end.
