interface Planet {
    name: string;
    moons: number;
}

const planets: Planet[] = [
    { name: "Mars", moons: 2 },
    { name: "Jupiter", moons: 97 },
];

function describe({ name, moons }: Planet): string {
    return `${name} has ${moons} moons.`;
}

planets.map(describe).forEach((line) => console.log(line));
