// Prints the Swarm reference of content of each length that is named as an argument, as another implementation
// computes it. The content is the one of Bee's own test vectors: bytes that count up modulo 255.
const { makeChunkedFile } = require('@fairdatasociety/bmt-js')

for (const length of process.argv.slice(2).map(Number)) {
  const content = Uint8Array.from({ length }, (_, index) => index % 255)
  console.log(length, Buffer.from(makeChunkedFile(content).address()).toString('hex'))
}
