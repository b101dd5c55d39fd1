greet = @(name) sprintf("Hello, %s!", name);

squares = (1:5) .^ 2
A = [2 1; 1 3];
x = A \ [3; 5]
disp(greet("world"))
