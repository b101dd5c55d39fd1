# What AWK does to each line of its input, this program does to a text of its own.
BEGIN {
    text = "Mars 2\nJupiter 97\nVenus 0"
    for (n = split(text, lines, "\n"); ++i <= n;) {
        split(lines[i], fields, " ")
        moons[fields[1]] = fields[2]
        total += fields[2]
    }
    PROCINFO["sorted_in"] = "@val_num_desc"
    for (planet in moons) printf "%-8s %2d\n", planet, moons[planet]
    print "in all:  " total
}
