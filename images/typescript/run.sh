sh /opt/typescript/compile.sh main.ts || exit
exec node --enable-source-maps --require /opt/typescript/resolve.js /tmp/out/main.js "$@"
