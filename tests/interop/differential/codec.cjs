// Reads packets from standard input, each behind its length (u32, big-endian), and answers each with a
// line of JSON: what npm's ilp-packet makes of it, and the bytes that it writes for what it read.
// Usage: node codec.cjs <node_modules>

'use strict'

const fs = require('fs')
const path = require('path')

const packets = require(path.join(process.argv[2], 'ilp-packet'))

function judge (bytes) {
  let packet
  try {
    packet = packets.deserializeIlpPacket(bytes)
  } catch (error) {
    return { accepted: false, error: String(error.message) }
  }
  try {
    return { accepted: true, written: packets.serializeIlpPacket(packet).toString('hex') }
  } catch (error) {
    return { accepted: true, written: '', error: String(error.message) }
  }
}

const input = fs.readFileSync(0)
const lines = []
for (let at = 0; at < input.length;) {
  const size = input.readUInt32BE(at)
  lines.push(JSON.stringify(judge(input.subarray(at + 4, at + 4 + size))))
  at += 4 + size
}
fs.writeSync(1, lines.join('\n') + '\n')
