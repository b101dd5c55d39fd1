# What is printed appears at once.
$stdout.sync = true
# From wait/did_you_mean.rb, since Ruby sets ARGV after it.
if Thread.current[:arguments]
  ARGV.replace(Thread.current[:arguments])
  Thread.current[:arguments] = nil
  $LOADED_FEATURES.delete("/opt/wait/did_you_mean.rb")
end
