use v5.36;

my %moons = (Mars => 2, Jupiter => 97, Venus => 0);

for my $planet (sort { $moons{$b} <=> $moons{$a} } keys %moons) {
    printf "%-8s %2d\n", $planet, $moons{$planet};
}

my $text = "one fish, two fish, red fish";
my @words = $text =~ /(\w+) fish/g;
say join " + ", @words;
