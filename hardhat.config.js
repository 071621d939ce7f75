// Hardhat compiles with the npm solc (no download) and gives the bytecode that tip_exchange.chain.compiler gives.
"use strict";
const { subtask } = require("hardhat/config");
const { TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD } = require("hardhat/builtin-tasks/task-names");
const solc = require("solc/package.json");

const settings = {
  evmVersion: "shanghai",
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none" },
};

subtask(TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD, async ({ solcVersion }) => {
  if (solcVersion !== solc.version) {
    throw new Error(`hardhat.config.js asks for solc ${solcVersion}, npm installed ${solc.version}; run npm ci`);
  }
  return {
    version: solcVersion,
    longVersion: solcVersion,
    compilerPath: require.resolve("solc/soljson.js"),
    isSolcJs: true,
  };
});

module.exports = {
  solidity: { version: "0.8.37", settings },
  networks: {
    hardhat: { chainId: 31337, hardfork: "shanghai" },
    localhost: { chainId: 31337, url: "http://127.0.0.1:8545" },
  },
  paths: { sources: "contracts", tests: "tests/contracts", cache: "cache/hardhat", artifacts: "artifacts" },
};
