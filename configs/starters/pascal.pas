program Hello;

const
  names: array of string = ('Blaise', 'Niklaus');
var
  name: string;
begin
  for name in names do
    writeln('Hello, ', name, '!');
  writeln('The answer is ', 6 * 7, '.');
end.
