local planets = { "Mercury", "Venus", "Earth" }
for number, name in ipairs(planets) do
    print(number .. ". " .. name)
end
print(string.format("%s, %d planets", _VERSION, #planets))
