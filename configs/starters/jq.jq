# The input is the request's file data.json, or else its stdin. This filter makes its own:
[
    {"name": "Mars", "moons": 2},
    {"name": "Jupiter", "moons": 97},
    {"name": "Venus", "moons": 0}
]
| map(select(.moons > 0))
| sort_by(-.moons)
| {planets: map(.name), moons: map(.moons) | add}
