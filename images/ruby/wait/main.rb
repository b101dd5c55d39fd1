# Ruby opens it while it waits; did_you_mean.rb replaces it by that of the run.
