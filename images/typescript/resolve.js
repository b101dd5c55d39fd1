// TypeScript finds ./greet.ts as "./greet"; Node.js alone would not find ./greet.js.
require("node:module").registerHooks({
    resolve(specifier, context, next) {
        try {
            return next(specifier, context);
        } catch (error) {
            if (!/^\.\.?\//.test(specifier)) throw error;
            return next(`${specifier}.js`, context);
        }
    },
});
