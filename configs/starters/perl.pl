use v5.36;

my @words = qw(hello from perl);
say join ' ', map { ucfirst } @words;
say length, " $_" for sort @words;
