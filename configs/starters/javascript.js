const planets = [
    { name: "Mars", moons: 2 },
    { name: "Jupiter", moons: 97 },
    { name: "Venus", moons: 0 },
];

for (const { name, moons } of planets.toSorted((a, b) => b.moons - a.moons)) {
    console.log(`${name}: ${moons || "no"} moons`);
}
