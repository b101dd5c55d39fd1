# the input comes from stdin or from a file data.json; here it is in the program
[{"name": "ada", "points": 3}, {"name": "bob", "points": 4}, {"name": "ada", "points": 5}]
| group_by(.name)
| map({(.[0].name): map(.points) | add})
| add
