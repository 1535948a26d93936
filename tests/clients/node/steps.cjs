// What every conformance script in JavaScript shares: where the sandbox is, and how a step is told.
"use strict";

const { ConfidentialClientApplication } = require("@azure/msal-node");
const path = require("node:path");

const sandbox = JSON.parse(process.env.SANDBOX);
const login = new ConfidentialClientApplication({
  auth: {
    clientId: sandbox.client_id,
    clientSecret: sandbox.client_secret,
    authority: `${sandbox.login}/${sandbox.tenant_id}`,
    knownAuthorities: [new URL(sandbox.login).host],
  },
});

/** A token of the application for a scope. */
async function token(scope) {
  return (await login.acquireTokenByClientCredential({ scopes: [scope] })).accessToken;
}

/** One thing that the client does; the last one that was named is the one that failed. */
async function step(name, work) {
  process.stderr.write(`${name} ...\n`);
  await work();
  process.stdout.write(`step ${name}\n`);
}

/** Run a script and say which clients these were. */
function conform(main, ...packages) {
  main().then(
    () => {
      for (const name of packages) {
        const { version } = require(path.join(process.env.NODE_PATH, name, "package.json"));
        process.stdout.write(`client ${name} ${version}\n`);
      }
    },
    (error) => {
      process.stderr.write(`${error.stack}\n${JSON.stringify(error)}\n`);
      process.exitCode = 1;
    },
  );
}

module.exports = { sandbox, token, step, conform };
