# Waits in a box for a run, by the protocol of docs/sandboxes.md. "ruby -C/opt/wait -I. main.rb" takes this file for its
# own did_you_mean.rb, which it loads after it has opened main.rb, and before it reads that.
$LOAD_PATH.delete(__dir__)
require "did_you_mean"
IO.open(4, "w") { |ready| ready.write("!") }
# the arguments of the run, such as "ruby\0main.rb\0"
arguments = IO.open(3, &:read).split("\0", -1)[1...-1]
exit if arguments.nil?
Dir.chdir("/sandbox")
# what has other options starts afresh
exec("ruby", *arguments) unless arguments.first == "main.rb"
ObjectSpace.each_object(File).find { |file| !file.closed? && file.path == "main.rb" }.reopen("main.rb")
Thread.current[:arguments] = arguments.drop(1)
