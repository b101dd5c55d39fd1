# sums by name; with input, write rules instead of BEGIN
BEGIN {
    n = split("ada:3 bob:4 ada:5", pairs, " ")
    for (i = 1; i <= n; i++) {
        split(pairs[i], pair, ":")
        sum[pair[1]] += pair[2]
    }
    PROCINFO["sorted_in"] = "@ind_str_asc"
    for (name in sum) print name, sum[name]
}
