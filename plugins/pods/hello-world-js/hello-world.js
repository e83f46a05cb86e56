// Asks one provider for its date and prints the answer: the hello-world pod once more, in JavaScript.
//
// QuickJS has neither a console that reaches the host nor a TextEncoder, so the pod writes to the streams of WASI
// itself. 64-bit integers are plain numbers; an absent option is null; an error is thrown with the contract's variant
// as its `payload`.

import { getStderr } from 'wasi:cli/stderr@0.2.12';
import { getStdout } from 'wasi:cli/stdout@0.2.12';
import { Executor } from 'sovr:pod/golem@0.1.0';

const MINUTE = 60e9; // nanoseconds

function hello() {
  const executor = Executor.open({
    demand: { package: 'hello', minMemGib: null, minStorageGib: null, minCpuThreads: null },
    maxWorkers: null,
    budget: '1.0',
    timeout: 15 * MINUTE,
    subnet: null,
    maxAttempts: null,
  });
  executor.submit('date', [{ tag: 'run', val: { program: '/bin/date', args: [] } }], null);
  let outcome;
  while ((outcome = executor.next()) !== null) {
    const { provider, results } = outcome;
    if (results.tag === 'err') {
      throw new Error(`${results.val.kind}: ${results.val.reason}`);
    }
    for (const { stdout } of results.val) {
      print(getStdout(), `${provider.name || provider.id} answers: ${stdout.trimEnd()}`);
    }
    executor.accept(outcome.task);
  }
  executor.close();
}

// What an error of the contract says: `denied` holds a record, the others a text or nothing.
function reason({ message, payload }) {
  if (!payload?.tag) {
    return message;
  }
  const { tag, val } = payload;
  return tag === 'denied'
    ? `denied: ${val.capability} is ${val.granted}, and ${val.asked} was asked for`
    : `${tag}: ${val ?? ''}`;
}

function print(stream, line) {
  const bytes = utf8(`${line}\n`);
  const most = 4096; // per call
  for (let start = 0; start < bytes.length; start += most) {
    stream.blockingWriteAndFlush(bytes.slice(start, start + most));
  }
}

function utf8(text) {
  const bytes = [];
  for (const [escape, hex] of encodeURIComponent(text.toWellFormed()).matchAll(/%(..)|./g)) {
    bytes.push(hex ? parseInt(hex, 16) : escape.charCodeAt(0));
  }
  return new Uint8Array(bytes);
}

export const run = {
  run() {
    try {
      hello();
    } catch (error) {
      print(getStderr(), `error: ${reason(error)}`);
      throw undefined; // the err of wasi:cli/run
    }
  },
};
