# Checks the file $1 and what it imports, and compiles them into /tmp/out. It takes no tsconfig.json, whose options would
# be others than those of the node that runs the program.
# GOGC: tsc is faster if it collects no garbage before it comes near its part of the box's memory.
GOGC=off GOMEMLIMIT=128MiB tsc --ignoreConfig --pretty false --noEmitOnError --rootDir . --outDir /tmp/out \
    --module preserve --moduleDetection force --rewriteRelativeImportExtensions --target es2024 --lib esnext \
    --types node --typeRoots /opt/typescript/node_modules/@types --skipLibCheck --inlineSourceMap "$1"
