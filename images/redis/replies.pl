# Prints the replies of redis-cli as they come, and exits with 1 if one is an error or the server is gone. Its argument is
# the server's process.
use strict;
use warnings;

# readable(ESCAPED): what "\xd0\xbf" stands for, if that is UTF-8
sub readable {
    my ($escaped) = @_;
    my $bytes = pack "H*", $escaped =~ s/\\x//gr;
    my $text = $bytes;
    return utf8::decode($text) ? $bytes : $escaped;
}

my $status = 0;
$| = 1;
while (my $line = <STDIN>) {
    # the time of a slow command
    next if $line =~ /^\(\d+\.\d\ds\)$/;
    $status = 1 if $line =~ /^(?:\(error\)|Invalid argument)/;
    # \\xd0 is no such byte
    $line =~ s/(\\[^x])|((?:\\x[89a-f][0-9a-f])+)/defined $1 ? $1 : readable("$2")/ge;
    print $line;
}
# WNOHANG
exit(waitpid($ARGV[0], 1) ? 1 : $status);
