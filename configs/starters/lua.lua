local moons = { Mars = 2, Jupiter = 97, Venus = 0 }

local planets = {}
for planet in pairs(moons) do
    planets[#planets + 1] = planet
end
table.sort(planets, function(a, b) return moons[a] > moons[b] end)

for i, planet in ipairs(planets) do
    print(i, planet, moons[planet])
end
