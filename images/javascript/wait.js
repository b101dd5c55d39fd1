// Waits in a box for a run, by the protocol of docs/sandboxes.md. Node.js loads it before main.js, whose frames, modules
// and command line are then as without it; performance.now() counts from the start of the wait.
const { isMainThread } = require("node:worker_threads");

// threads load it, too, but have nothing to wait for
if (isMainThread) {
    const fs = require("node:fs");
    // console.log needs it
    require("node:net");
    fs.writeSync(4, "!");
    fs.closeSync(4);
    // the arguments of the run, such as "node\0main.js\0"
    const argv = fs.readFileSync(3, "utf8").split("\0").slice(0, -1);
    fs.closeSync(3);
    if (argv.length === 0) process.exit();
    // what has other options starts afresh
    if (argv[1] !== "main.js") process.execve(process.execPath, argv, process.env);
    process.argv.push(...argv.slice(2));
}
// or else child processes would wait
process.execArgv = [];
delete require.cache[__filename];
