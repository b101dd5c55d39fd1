sh /opt/typescript/compile.sh test.ts || exit
exec node --enable-source-maps --require /opt/typescript/resolve.js \
    --test --test-isolation=none --test-reporter=spec /tmp/out/test.js
